package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// A container without a probe that has not opened a socket by then is held to need none.
const withoutSocket = 5 * time.Second

// A program may open its sockets one after the other: for so many looks in a row they must have been as many.
const looksAlike = 3

// readiness is what is known of a container that is asked again and again.
type readiness struct {
	begun   time.Time
	sockets int // at the last look
	alike   int // looks in a row that saw as many
}

// settled says whether a container without a probe listens. A node agent would call it ready from the start, and
// traffic would meet closed ports for a moment, which tests of something else need not bear.
func (r *readiness) settled(pid int) bool {
	if time.Since(r.begun) > withoutSocket {
		return true
	}
	before := r.sockets
	if r.sockets = sockets(pid); r.sockets == 0 || r.sockets != before {
		r.alike = 0
	}
	r.alike++
	return r.sockets > 0 && r.alike >= looksAlike
}

// serves says whether a container is ready.
func (c *container) serves(ctx context.Context, probe *corev1.Probe, pid int, known *readiness) bool {
	if probe == nil {
		return known.settled(pid)
	}
	ctx, stop := context.WithTimeout(ctx, max(time.Duration(probe.TimeoutSeconds)*time.Second, time.Second))
	defer stop()
	switch {
	case probe.HTTPGet != nil:
		return c.answersHTTP(ctx, probe.HTTPGet)
	case probe.TCPSocket != nil:
		connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.target(probe.TCPSocket.Port))
		if err != nil {
			return false
		}
		_ = connection.Close()
		return true
	default:
		return known.settled(pid)
	}
}

func (c *container) answersHTTP(ctx context.Context, get *corev1.HTTPGetAction) bool {
	url := fmt.Sprintf("%s://%s/%s", strings.ToLower(string(get.Scheme)), c.target(get.Port),
		strings.TrimPrefix(get.Path, "/"))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	for _, header := range get.HTTPHeaders {
		if strings.EqualFold(header.Name, "host") {
			request.Host = header.Value
		}
		request.Header.Add(header.Name, header.Value)
	}
	// As with any node agent, a probe does not ask who answers.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec
	answer, err := client.Do(request)
	if err != nil {
		return false
	}
	_ = answer.Body.Close()
	return answer.StatusCode >= 200 && answer.StatusCode < 400
}

func (c *container) target(port intstr.IntOrString) string {
	number := port.String()
	for _, one := range c.spec.Ports {
		if port.Type == intstr.String && one.Name == port.StrVal {
			number = fmt.Sprint(one.ContainerPort)
		}
	}
	return net.JoinHostPort(c.pod.address.String(), number)
}

// sockets counts what waits for connections or datagrams in the network of a process.
func sockets(pid int) int {
	count := 0
	for _, table := range []string{"tcp", "tcp6", "udp", "udp6"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if err != nil {
			return 0
		}
		for _, row := range strings.Split(string(text), "\n")[1:] {
			// Columns: number, local address, remote address, state; 0A is LISTEN.
			columns := strings.Fields(row)
			if len(columns) > 3 && (strings.HasPrefix(table, "udp") || columns[3] == "0A") {
				count++
			}
		}
	}
	return count
}
