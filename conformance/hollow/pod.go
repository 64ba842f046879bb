package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// pod is one Pod as it runs here. Its object is as it was when it was first seen: what a container is made
// from does not change.
type pod struct {
	node    *node
	object  *corev1.Pod
	folder  string
	started metav1.Time
	cancel  context.CancelFunc
	done    chan struct{}
	address netip.Addr
	sandbox *sandbox // none in the node's own network

	initial    []*container
	containers []*container

	// Held while the state of a container changes or is read, and while a status is sent, so that the last sent
	// is the newest.
	mutex sync.Mutex
	since map[corev1.PodConditionType]condition
}

type condition struct {
	status corev1.ConditionStatus
	since  metav1.Time
}

func newPod(n *node, object *corev1.Pod) *pod {
	p := &pod{node: n, object: object, folder: filepath.Join(n.folder, string(object.UID)), started: metav1.Now(),
		done: make(chan struct{}), since: map[corev1.PodConditionType]condition{}}
	for i := range object.Spec.InitContainers {
		p.initial = append(p.initial, newContainer(p, &object.Spec.InitContainers[i]))
	}
	for i := range object.Spec.Containers {
		p.containers = append(p.containers, newContainer(p, &object.Spec.Containers[i]))
	}
	return p
}

func (p *pod) name() string {
	return p.object.Namespace + "/" + p.object.Name
}

// run keeps the Pod's containers running until the context ends.
func (p *pod) run(ctx context.Context) {
	defer close(p.done)
	if err := p.enter(); err != nil {
		say("%s: %v", p.name(), err)
		return
	}
	defer p.leave()
	p.tell(ctx)
	for _, one := range p.initial {
		if !one.complete(ctx) {
			return
		}
	}
	var all sync.WaitGroup
	for _, one := range p.containers {
		all.Go(func() { one.keep(ctx) })
	}
	all.Wait()
	p.tell(ctx)
	// A Pod that has finished keeps its address until it is deleted.
	<-ctx.Done()
}

func (p *pod) enter() error {
	if err := os.MkdirAll(p.folder, 0o755); err != nil {
		return err
	}
	if p.object.Spec.HostNetwork {
		p.address = p.node.network.node
		return nil
	}
	address, err := p.node.network.take()
	if err != nil {
		return err
	}
	if p.sandbox, err = p.node.network.newSandbox(p.object.Name, address); err != nil {
		p.node.network.giveBack(address)
		return err
	}
	p.address = address
	return nil
}

func (p *pod) leave() {
	if p.sandbox != nil {
		p.sandbox.close()
		p.node.network.giveBack(p.address)
	}
	for _, one := range append(append([]*container{}, p.initial...), p.containers...) {
		one.log.close()
	}
	_ = os.RemoveAll(p.folder)
}

// tell writes the Pod's status. Whoever changed something tells; a status that cannot be written is tried
// again.
func (p *pod) tell(ctx context.Context) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for ctx.Err() == nil {
		text, err := json.Marshal(map[string]any{
			"metadata": map[string]any{"uid": p.object.UID},
			"status":   p.status(),
		})
		if err == nil {
			_, err = p.node.client.CoreV1().Pods(p.object.Namespace).Patch(ctx, p.object.Name, types.MergePatchType,
				text, metav1.PatchOptions{}, "status")
		}
		if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) || ctx.Err() != nil {
			return
		}
		say("%s: its status: %v", p.name(), err)
		pause(ctx, time.Second)
	}
}

// status is what the Pod's containers come to. The mutex is held.
func (p *pod) status() corev1.PodStatus {
	status := corev1.PodStatus{
		ObservedGeneration: p.object.Generation,
		StartTime:          &p.started,
		HostIP:             p.node.network.node.String(),
		HostIPs:            []corev1.HostIP{{IP: p.node.network.node.String()}},
		PodIP:              p.address.String(),
		PodIPs:             []corev1.PodIP{{IP: p.address.String()}},
	}
	initialized, ready, running, failed := true, true, false, false
	for _, one := range p.initial {
		status.InitContainerStatuses = append(status.InitContainerStatuses, one.status())
		initialized = initialized && one.succeeded()
	}
	for _, one := range p.containers {
		status.ContainerStatuses = append(status.ContainerStatuses, one.status())
		ready = ready && one.ready
		running = running || !one.finished
		failed = failed || one.finished && !one.succeeded()
	}
	switch {
	case !initialized || !p.begun():
		status.Phase = corev1.PodPending
	case running:
		status.Phase = corev1.PodRunning
	case failed:
		status.Phase = corev1.PodFailed
	default:
		status.Phase = corev1.PodSucceeded
	}
	status.Conditions = []corev1.PodCondition{
		p.condition(corev1.PodScheduled, true), p.condition(corev1.PodInitialized, initialized),
		p.condition(corev1.ContainersReady, ready), p.condition(corev1.PodReady, ready),
	}
	return status
}

func (p *pod) begun() bool {
	for _, one := range p.containers {
		if one.state.Running == nil && one.state.Terminated == nil && one.restarts == 0 {
			return false
		}
	}
	return true
}

func (p *pod) condition(kind corev1.PodConditionType, holds bool) corev1.PodCondition {
	status := corev1.ConditionFalse
	if holds {
		status = corev1.ConditionTrue
	}
	if p.since[kind].status != status {
		p.since[kind] = condition{status: status, since: metav1.Now()}
	}
	return corev1.PodCondition{Type: kind, Status: status, LastTransitionTime: p.since[kind].since,
		ObservedGeneration: p.object.Generation}
}

// field is what the Pod tells its containers of itself: the downward API.
func (p *pod) field(path string) (string, error) {
	var key string
	if n, _ := fmt.Sscanf(path, "metadata.labels['%s", &key); n == 1 {
		return p.object.Labels[key[:len(key)-2]], nil
	}
	if n, _ := fmt.Sscanf(path, "metadata.annotations['%s", &key); n == 1 {
		return p.object.Annotations[key[:len(key)-2]], nil
	}
	switch path {
	case "metadata.name":
		return p.object.Name, nil
	case "metadata.namespace":
		return p.object.Namespace, nil
	case "metadata.uid":
		return string(p.object.UID), nil
	case "metadata.labels":
		return lines(p.object.Labels), nil
	case "metadata.annotations":
		return lines(p.object.Annotations), nil
	case "spec.nodeName":
		return nodeName, nil
	case "spec.serviceAccountName":
		return p.object.Spec.ServiceAccountName, nil
	case "status.hostIP", "status.hostIPs":
		return p.node.network.node.String(), nil
	case "status.podIP", "status.podIPs":
		return p.address.String(), nil
	}
	return "", fmt.Errorf("field %s is not known here", path)
}
