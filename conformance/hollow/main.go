// Command hollow is a cluster without machines: a real API server and the real controllers, and one node that runs
// Pods as local processes, each in a network namespace of its own. It exists to run conformance suites where no
// container engine is to be had.
//
//	hollow --images images.yaml --apply crds/ -- COMMAND ARG…
//
// Everything, the command too, lives in namespaces that hollow makes and that die with it, so that addresses
// and ports cannot collide with anything on the machine. The command finds KUBECONFIG set; its exit code is
// hollow's.
package main

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// The names that hollow calls itself by when it starts itself again, one for each part that it plays.
const (
	asInside    = "hollow-inside"
	asSandbox   = "hollow-sandbox"
	asContainer = "hollow-container"
)

type settings struct {
	parts   string       // the folder of etcd, kube-apiserver and kube-controller-manager
	images  string       // the file that says which program stands for an image; empty: no image can run
	apply   []string     // files and folders of YAML, applied in this order before the commands start
	beside  string       // a shell command that runs beside `command`; its end before that is a failure
	state   string       // where keys, data, volumes and logs are kept
	pods    netip.Prefix // addresses of Pods; the first is the node's own
	local   netip.Prefix // addresses that any process inside may bind, for gateways
	balance bool         // Services of type LoadBalancer get the address of one of their Pods
	command []string     // empty: stay until told to end
}

func main() {
	var err error
	switch filepath.Base(os.Args[0]) {
	case asSandbox:
		err = sandboxMain()
	case asContainer:
		err = containerMain()
	case asInside:
		var code int
		if code, err = insideMain(); err == nil {
			os.Exit(code)
		}
	default:
		var code int
		if code, err = outsideMain(); err == nil {
			os.Exit(code)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "hollow:", err)
		os.Exit(1)
	}
}

func readSettings() (settings, error) {
	var s settings
	flag.StringVar(&s.parts, "parts", "", "folder of etcd, kube-apiserver and kube-controller-manager "+
		"(default: KUBEBUILDER_ASSETS, else /usr/local/kubebuilder/bin)")
	flag.StringVar(&s.images, "images", "", "YAML file that names a program for each image")
	flag.Func("apply", "file or folder of YAML to apply first; repeatable", func(path string) error {
		s.apply = append(s.apply, path)
		return nil
	})
	flag.StringVar(&s.beside, "beside", "", "shell command to run beside the command, inside as well")
	flag.StringVar(&s.state, "state", "", "folder for keys, data and logs, kept (default: a temporary one)")
	flag.TextVar(&s.pods, "pods", netip.MustParsePrefix("10.244.0.0/16"), "addresses of Pods")
	flag.TextVar(&s.local, "local", netip.MustParsePrefix("10.245.0.0/16"), "addresses that gateways may bind")
	flag.BoolVar(&s.balance, "balance", false, "give Services of type LoadBalancer the address of one of their Pods")
	flag.Parse()
	s.command = flag.Args()
	if s.parts == "" {
		s.parts = os.Getenv("KUBEBUILDER_ASSETS")
	}
	if s.parts == "" {
		s.parts = "/usr/local/kubebuilder/bin"
	}
	for _, part := range []string{"etcd", "kube-apiserver", "kube-controller-manager"} {
		if _, err := os.Stat(filepath.Join(s.parts, part)); err != nil {
			return s, fmt.Errorf("%s is not in %s: give --parts or KUBEBUILDER_ASSETS the folder of the cluster's "+
				"parts (.ci/kube-tools prints one)", part, s.parts)
		}
	}
	return s, nil
}

// outsideMain starts hollow again in fresh namespaces and waits for it. All that is started inside is in one
// process namespace and ends with its first process.
func outsideMain() (int, error) {
	s, err := readSettings()
	if err != nil {
		return 0, err
	}
	if s.state == "" {
		if s.state, err = os.MkdirTemp("", "hollow-"); err != nil {
			return 0, err
		}
		defer os.RemoveAll(s.state)
	} else if left, err := os.ReadDir(s.state); err == nil && len(left) > 0 {
		return 0, fmt.Errorf("%s is not empty: every cluster is a new one, with keys and data of its own", s.state)
	}
	inside := exec.Command("/proc/self/exe", append([]string{"--state", s.state}, os.Args[1:]...)...)
	inside.Args[0] = asInside
	inside.Stdin, inside.Stdout, inside.Stderr = os.Stdin, os.Stdout, os.Stderr
	inside.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL, // whatever ends hollow ends the cluster
	}
	if uid, gid := os.Geteuid(), os.Getegid(); uid != 0 {
		inside.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		inside.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		inside.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: gid, Size: 1}}
	}
	// The kernel means the thread, not the process, when it speaks of a parent's death.
	runtime.LockOSThread()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	if err := inside.Start(); err != nil {
		return 0, fmt.Errorf("namespaces of its own were refused (as another user than root this needs unprivileged "+
			"user namespaces): %w", err)
	}
	go func() {
		for range signals {
			_ = inside.Process.Signal(syscall.SIGTERM)
		}
	}()
	err = inside.Wait()
	if ended, ok := err.(*exec.ExitError); ok {
		if status := ended.Sys().(syscall.WaitStatus); status.Signaled() {
			return 128 + int(status.Signal()), nil
		}
		return ended.ExitCode(), nil
	}
	return 0, err
}

// say tells on standard error what hollow itself does; standard output belongs to the command.
func say(format string, args ...any) {
	fmt.Fprintln(os.Stderr, "hollow:", strings.TrimRight(fmt.Sprintf(format, args...), "\n"))
}
