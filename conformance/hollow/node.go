package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

const nodeName = "hollow"

// node is scheduler and node agent in one: what is to run anywhere runs here.
type node struct {
	client  *kubernetes.Clientset
	network *network
	images  images
	folder  string // of what Pods have mounted
	logs    string // of what their containers write

	mutex sync.Mutex
	pods  map[types.UID]*pod
}

func newNode(ctx context.Context, c *cluster, network *network, images images, folder string) (*node, error) {
	n := &node{client: c.client, network: network, images: images, folder: folder,
		logs: filepath.Join(c.logs, "pods"), pods: map[types.UID]*pod{}}
	for _, folder := range []string{n.folder, n.logs} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return nil, err
		}
	}
	if err := n.register(ctx); err != nil {
		return nil, fmt.Errorf("registering the node: %w", err)
	}
	return n, n.serve(c.keys)
}

func (n *node) register(ctx context.Context) error {
	object := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeName, Labels: map[string]string{
		corev1.LabelHostname:   nodeName,
		corev1.LabelOSStable:   runtime.GOOS,
		corev1.LabelArchStable: runtime.GOARCH,
	}}}
	nodes := n.client.CoreV1().Nodes()
	object, err := nodes.Create(ctx, object, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	// New nodes are held to be unready by a mark that the absent machine controllers would take away.
	object.Spec.Taints = nil
	if object, err = nodes.Update(ctx, object, metav1.UpdateOptions{}); err != nil {
		return err
	}
	plenty := corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("64"),
		corev1.ResourceMemory: resource.MustParse("64Gi"),
		corev1.ResourcePods:   resource.MustParse("1000"),
	}
	now := metav1.Now()
	object.Status = corev1.NodeStatus{
		Capacity: plenty, Allocatable: plenty,
		Addresses: []corev1.NodeAddress{
			{Type: corev1.NodeInternalIP, Address: n.network.node.String()},
			{Type: corev1.NodeHostName, Address: nodeName},
		},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: nodePort}},
		Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue,
			Reason: "Hollow", LastHeartbeatTime: now, LastTransitionTime: now}},
	}
	_, err = nodes.UpdateStatus(ctx, object, metav1.UpdateOptions{})
	return err
}

// run follows all Pods until the context ends.
func (n *node) run(ctx context.Context) {
	factory := informers.NewSharedInformerFactory(n.client, 0)
	informer := factory.Core().V1().Pods().Informer()
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { n.see(ctx, object.(*corev1.Pod)) },
		UpdateFunc: func(_, object any) { n.see(ctx, object.(*corev1.Pod)) },
		DeleteFunc: func(object any) {
			if last, ok := object.(cache.DeletedFinalStateUnknown); ok {
				object = last.Obj
			}
			if gone, ok := object.(*corev1.Pod); ok {
				go n.stop(ctx, gone)
			}
		},
	})
	if err != nil {
		say("Pods cannot be followed: %v", err)
		return
	}
	factory.Start(ctx.Done())
}

func (n *node) see(ctx context.Context, seen *corev1.Pod) {
	switch {
	case seen.Spec.NodeName == "" && seen.DeletionTimestamp == nil && len(seen.Spec.SchedulingGates) == 0:
		go n.bind(ctx, seen)
	case seen.Spec.NodeName != nodeName:
	case seen.DeletionTimestamp != nil:
		go n.stop(ctx, seen)
	case seen.Status.Phase == corev1.PodSucceeded || seen.Status.Phase == corev1.PodFailed:
	default:
		n.start(ctx, seen)
	}
}

func (n *node) bind(ctx context.Context, seen *corev1.Pod) {
	err := n.client.CoreV1().Pods(seen.Namespace).Bind(ctx, &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Name: seen.Name, Namespace: seen.Namespace, UID: seen.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: nodeName},
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		say("%s/%s could not be bound: %v", seen.Namespace, seen.Name, err)
	}
}

func (n *node) start(ctx context.Context, seen *corev1.Pod) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if n.pods[seen.UID] != nil {
		return
	}
	started := newPod(n, seen)
	n.pods[seen.UID] = started
	ctx, started.cancel = context.WithCancel(ctx)
	go started.run(ctx)
}

// stop ends what runs of a Pod, then lets the API server forget it.
func (n *node) stop(ctx context.Context, seen *corev1.Pod) {
	n.mutex.Lock()
	running := n.pods[seen.UID]
	delete(n.pods, seen.UID)
	n.mutex.Unlock()
	if running != nil {
		running.cancel()
		<-running.done
	}
	if running == nil && seen.DeletionTimestamp == nil {
		return
	}
	now := int64(0)
	err := n.client.CoreV1().Pods(seen.Namespace).Delete(ctx, seen.Name, metav1.DeleteOptions{
		GracePeriodSeconds: &now, Preconditions: metav1.NewUIDPreconditions(string(seen.UID)),
	})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) && ctx.Err() == nil {
		say("%s/%s could not be deleted: %v", seen.Namespace, seen.Name, err)
	}
}

// pause waits, and says whether the context still holds.
func pause(ctx context.Context, length time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(length):
		return true
	}
}
