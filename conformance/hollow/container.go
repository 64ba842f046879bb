package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Between the end of a container and its next start.
const restartPause = time.Second

// How long a container may take its leave, whatever its Pod grants: nobody waits here for the sake of
// clients.
const leave = time.Second

// container is one container of a Pod, through all of its runs. What stands below `state` is guarded by the
// Pod.
type container struct {
	pod  *pod
	spec *corev1.Container
	log  *log

	state    corev1.ContainerState
	last     corev1.ContainerState
	restarts int32
	ready    bool
	finished bool // and is not started again
}

func newContainer(p *pod, spec *corev1.Container) *container {
	path := filepath.Join(p.node.logs, fmt.Sprintf("%s_%s_%s.log", p.object.Namespace, p.object.Name, spec.Name))
	return &container{pod: p, spec: spec, log: &log{path: path}, state: corev1.ContainerState{
		Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}}}
}

// change alters the container's state and tells of it.
func (c *container) change(ctx context.Context, how func()) {
	c.pod.mutex.Lock()
	how()
	c.pod.mutex.Unlock()
	c.pod.tell(ctx)
}

func (c *container) succeeded() bool {
	return c.state.Terminated != nil && c.state.Terminated.ExitCode == 0
}

func (c *container) status() corev1.ContainerStatus {
	started := c.state.Running != nil
	return corev1.ContainerStatus{Name: c.spec.Name, Image: c.spec.Image, ImageID: c.spec.Image, State: c.state,
		LastTerminationState: c.last, RestartCount: c.restarts, Ready: c.ready, Started: &started,
		ContainerID: fmt.Sprintf("hollow://%s/%s/%d", c.pod.object.UID, c.spec.Name, c.restarts)}
}

// complete runs an initial container until it has succeeded, and says whether it has.
func (c *container) complete(ctx context.Context) bool {
	if c.spec.RestartPolicy != nil {
		c.change(ctx, func() { c.wait("CreateContainerConfigError", errors.New("sidecars are not run here")) })
		<-ctx.Done()
		return false
	}
	for ctx.Err() == nil {
		if c.once(ctx) == 0 && ctx.Err() == nil {
			c.change(ctx, func() { c.ready = true })
			return true
		}
		if c.pod.object.Spec.RestartPolicy == corev1.RestartPolicyNever {
			c.change(ctx, func() { c.finished = true })
			<-ctx.Done()
			return false
		}
		c.again(ctx)
	}
	return false
}

// keep runs a container as the Pod's policy has it.
func (c *container) keep(ctx context.Context) {
	for ctx.Err() == nil {
		code := c.once(ctx)
		policy := c.pod.object.Spec.RestartPolicy
		if policy == corev1.RestartPolicyNever || policy == corev1.RestartPolicyOnFailure && code == 0 {
			c.change(ctx, func() { c.finished = true })
			return
		}
		c.again(ctx)
	}
}

func (c *container) again(ctx context.Context) {
	if !pause(ctx, restartPause) {
		return
	}
	c.change(ctx, func() {
		c.restarts++
		c.last, c.state = c.state, corev1.ContainerState{}
		c.wait("CrashLoopBackOff", errors.New("it is started again"))
	})
}

// wait says why the container does not run yet. The Pod's mutex is held.
func (c *container) wait(reason string, err error) {
	c.state = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: err.Error()}}
}

// once prepares and runs the container, and returns its exit code. What it needs may come later than the Pod,
// so that preparing is tried until it works.
func (c *container) once(ctx context.Context) int {
	var said string
	for {
		process, reason, err := c.start(ctx)
		if err == nil {
			return c.follow(ctx, process)
		}
		if ctx.Err() != nil {
			return -1
		}
		if said != err.Error() {
			said = err.Error()
			c.change(ctx, func() { c.wait(reason, err) })
		}
		if !pause(ctx, 250*time.Millisecond) {
			return -1
		}
	}
}

// start returns the running process, or the reason word of the API and the error.
func (c *container) start(ctx context.Context) (*exec.Cmd, string, error) {
	image, found := c.pod.node.images.find(c.spec.Image)
	if !found {
		return nil, "ErrImagePull", fmt.Errorf("no program stands for image %s: name one in the file of --images",
			c.spec.Image)
	}
	mounts, err := c.pod.mounts(ctx, c.spec)
	if err != nil {
		return nil, "CreateContainerConfigError", err
	}
	environment, err := c.pod.environment(ctx, c.spec)
	if err != nil {
		return nil, "CreateContainerConfigError", err
	}
	root := filepath.Join(c.pod.folder, "root-"+c.spec.Name)
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, "CreateContainerError", err
	}
	task := containerTask{Root: root, Mounts: mounts, Program: image.Program, Folder: c.spec.WorkingDir,
		Environment: environment.list(), Arguments: environment.expandAll(c.arguments(image))}
	if c.pod.sandbox != nil {
		task.Sandbox = c.pod.sandbox.process.Process.Pid
	}
	process, err := task.start(c.log)
	if err != nil {
		return nil, "CreateContainerError", err
	}
	return process, "", nil
}

// arguments leaves out the command's first word: it names a program of the image, which another stands for.
func (c *container) arguments(image image) []string {
	switch {
	case len(c.spec.Command) > 0:
		return append(append([]string{}, c.spec.Command[1:]...), c.spec.Args...)
	case len(c.spec.Args) > 0:
		return c.spec.Args
	default:
		return image.Args
	}
}

// follow waits for the end of a run, or ends it with the context.
func (c *container) follow(ctx context.Context, process *exec.Cmd) int {
	started := metav1.Now()
	run, stop := context.WithCancel(ctx)
	defer stop()
	c.change(ctx, func() {
		c.state = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: started}}
	})
	go c.watchReadiness(run, process.Process.Pid)
	ended := make(chan struct{})
	go func() {
		_ = process.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		// The whole group: a program may have started others.
		_ = syscall.Kill(-process.Process.Pid, syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(leave):
		}
		_ = syscall.Kill(-process.Process.Pid, syscall.SIGKILL)
		<-ended
	}
	code := process.ProcessState.ExitCode()
	stop()
	reason := "Completed"
	if code != 0 {
		reason = "Error"
	}
	c.change(ctx, func() {
		c.ready = false
		c.state = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: int32(code),
			Reason: reason, StartedAt: started, FinishedAt: metav1.Now()}}
	})
	return code
}

// watchReadiness asks the container's probe, or its sockets, whether it serves.
func (c *container) watchReadiness(ctx context.Context, pid int) {
	probe := c.spec.ReadinessProbe
	period := 100 * time.Millisecond
	if probe != nil && probe.PeriodSeconds > 0 {
		period = time.Duration(probe.PeriodSeconds) * time.Second
	}
	seen := &readiness{begun: time.Now()}
	for known := false; ; {
		ready := c.serves(ctx, probe, pid, seen)
		if ctx.Err() != nil {
			return
		}
		if ready != known {
			known = ready
			c.pod.mutex.Lock()
			// The run may have ended meanwhile, and what is told then is its end.
			stale := ctx.Err() != nil
			if !stale {
				c.ready = ready
			}
			c.pod.mutex.Unlock()
			if !stale {
				c.pod.tell(ctx)
			}
		}
		if probe == nil && ready {
			return
		}
		next := period
		if !ready {
			next = 100 * time.Millisecond
		}
		if !pause(ctx, next) {
			return
		}
	}
}
