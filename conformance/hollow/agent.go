package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// log is a container's output: lines, each with the time of its end in front, in a file that outlives the
// Pod.
type log struct {
	path    string
	mutex   sync.Mutex
	partial []byte
	file    *os.File
}

func (l *log) Write(text []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.file == nil {
		var err error
		if l.file, err = os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644); err != nil {
			return 0, err
		}
	}
	l.partial = append(l.partial, text...)
	now := time.Now().UTC().Format(time.RFC3339Nano)
	for {
		end := bytes.IndexByte(l.partial, '\n')
		if end < 0 {
			return len(text), nil
		}
		if _, err := fmt.Fprintf(l.file, "%s %s", now, l.partial[:end+1]); err != nil {
			return 0, err
		}
		l.partial = l.partial[end+1:]
	}
}

// close ends the log of a container that is started no more, or until it is.
func (l *log) close() {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.file != nil {
		_ = l.file.Close()
		l.file = nil
	}
}

// serve answers what the API server asks a node for: the output of containers. Programs are not run inside of
// containers for anybody.
func (n *node) serve(k *keys) error {
	certificate, err := tls.LoadX509KeyPair(k.path("node.crt"), k.path("node.key"))
	if err != nil {
		return err
	}
	authority := x509.NewCertPool()
	authority.AddCert(k.certificate)
	listener, err := net.Listen("tcp", net.JoinHostPort(n.network.node.String(), strconv.Itoa(nodePort)))
	if err != nil {
		return err
	}
	paths := http.NewServeMux()
	paths.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", n.showLog)
	paths.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "a hollow node shows logs and nothing else", http.StatusNotImplemented)
	})
	server := &http.Server{Handler: paths, ReadHeaderTimeout: 10 * time.Second, TLSConfig: &tls.Config{
		Certificates: []tls.Certificate{certificate}, ClientCAs: authority,
		ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12,
	}}
	go func() { say("the node's agent ended: %v", server.ServeTLS(listener, "", "")) }()
	return nil
}

// logQuery is what `kubectl logs` can ask for.
type logQuery struct {
	since      time.Time
	tail       int // -1: all
	limit      int // bytes; -1: all
	timestamps bool
	follow     bool
}

func readLogQuery(r *http.Request) (q logQuery, err error) {
	values := r.URL.Query()
	number := func(name string) int {
		if values.Get(name) == "" {
			return -1
		}
		value, wrong := strconv.Atoi(values.Get(name))
		err = errors.Join(err, wrong)
		return value
	}
	q.tail, q.limit = number("tailLines"), number("limitBytes")
	if seconds := number("sinceSeconds"); seconds >= 0 {
		q.since = time.Now().Add(-time.Duration(seconds) * time.Second)
	}
	if text := values.Get("sinceTime"); text != "" {
		var wrong error
		q.since, wrong = time.Parse(time.RFC3339, text)
		err = errors.Join(err, wrong)
	}
	q.timestamps = values.Get("timestamps") == "true"
	q.follow = values.Get("follow") == "true"
	return q, err
}

func (n *node) showLog(w http.ResponseWriter, r *http.Request) {
	query, err := readLogQuery(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	one := n.containerOf(r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("container"))
	if one == nil {
		http.Error(w, "no such container runs here", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	// Nothing may have been written as yet.
	file, err := os.OpenFile(one.log.path, os.O_CREATE|os.O_RDONLY, 0o644)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer file.Close()
	reader := bufio.NewReader(file)
	kept, rest := query.read(reader)
	text := strings.Join(kept, "")
	if query.limit >= 0 && len(text) > query.limit {
		text = text[:query.limit]
	}
	_, _ = io.WriteString(w, text)
	for query.follow {
		_ = http.NewResponseController(w).Flush()
		if !pause(r.Context(), 100*time.Millisecond) {
			return
		}
		more, _ := reader.ReadString('\n')
		if rest += more; strings.HasSuffix(rest, "\n") {
			_, _ = io.WriteString(w, query.shown(rest))
			rest = ""
		}
	}
}

// read returns the lines that were asked for, and a beginning of one that is being written.
func (q logQuery) read(reader *bufio.Reader) (kept []string, rest string) {
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			rest = line
			break
		}
		when, _, _ := strings.Cut(line, " ")
		if at, err := time.Parse(time.RFC3339Nano, when); err == nil && at.Before(q.since) {
			continue
		}
		kept = append(kept, q.shown(line))
	}
	if q.tail >= 0 && len(kept) > q.tail {
		kept = kept[len(kept)-q.tail:]
	}
	return kept, rest
}

func (q logQuery) shown(line string) string {
	if q.timestamps {
		return line
	}
	_, line, _ = strings.Cut(line, " ")
	return line
}

func (n *node) containerOf(namespace, pod, name string) *container {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	for _, running := range n.pods {
		if running.object.Namespace != namespace || running.object.Name != pod {
			continue
		}
		for _, one := range append(append([]*container{}, running.initial...), running.containers...) {
			if one.spec.Name == name {
				return one
			}
		}
	}
	return nil
}
