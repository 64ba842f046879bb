package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// insideMain is the first process of the namespaces: it brings the cluster up, runs the commands, and by
// ending ends everything else.
func insideMain() (int, error) {
	s, err := readSettings()
	if err != nil {
		return 0, err
	}
	// What arrives while the cluster is being brought up ends it as well.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer stop()
	if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return 0, fmt.Errorf("a mount table of its own: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return 0, fmt.Errorf("/proc of its own: %w", err)
	}
	if s.state, err = filepath.Abs(s.state); err != nil {
		return 0, err
	}
	network, err := newNetwork(s.pods, s.local)
	if err != nil {
		return 0, err
	}
	images, err := readImages(s.images)
	if err != nil {
		return 0, err
	}
	started := time.Now()
	c, err := startCluster(ctx, s, network)
	if err != nil {
		return 0, err
	}
	node, err := newNode(ctx, c, network, images, filepath.Join(s.state, "pods"))
	if err != nil {
		return 0, err
	}
	go node.run(ctx)
	if s.balance {
		go node.balance(ctx)
	}
	for _, path := range s.apply {
		if err := apply(ctx, c.config, path); err != nil {
			return 0, err
		}
	}
	say("the cluster is up after %.1f s; keys and logs are in %s", time.Since(started).Seconds(), s.state)
	return runCommands(ctx, s, c)
}

// runCommands runs what the caller wants run in the cluster, and returns the exit code of the command.
func runCommands(ctx context.Context, s settings, c *cluster) (int, error) {
	if len(s.command) == 0 && s.beside == "" {
		say("KUBECONFIG=%s; stop it with Ctrl-C", c.kubeconfig)
		select {
		case <-ctx.Done():
			return 0, nil
		case err := <-c.fallen:
			return 0, err
		}
	}
	environment := append(os.Environ(), "KUBECONFIG="+c.kubeconfig, "HOLLOW_LOCAL="+s.local.String(),
		"HOLLOW_STATE="+s.state, "HOLLOW_ETCD="+etcdAddress)
	besideEnded := make(chan error, 1)
	if s.beside != "" {
		beside := exec.Command("sh", "-c", s.beside)
		beside.Env, beside.Stdout, beside.Stderr = environment, os.Stderr, os.Stderr
		if err := beside.Start(); err != nil {
			return 0, fmt.Errorf("--beside: %w", err)
		}
		go func() { besideEnded <- fmt.Errorf("--beside ended before the command did: %w", ended(beside.Wait())) }()
	}
	commandEnded := make(chan error, 1)
	if len(s.command) > 0 {
		command := exec.Command(s.command[0], s.command[1:]...)
		command.Env, command.Stdin, command.Stdout, command.Stderr = environment, os.Stdin, os.Stdout, os.Stderr
		if err := command.Start(); err != nil {
			return 0, err
		}
		go func() { commandEnded <- command.Wait() }()
	}
	select {
	case err := <-commandEnded:
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			if code := exit.ExitCode(); code >= 0 {
				return code, nil
			}
		}
		return 0, err
	case err := <-besideEnded:
		return 0, err
	case err := <-c.fallen:
		return 0, err
	case <-ctx.Done():
		return 0, errors.New("told to end before the command did")
	}
}

// ended says how a process ended where its end, even a good one, is the error.
func ended(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}
