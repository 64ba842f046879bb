// Command smoke asks a cluster for what the suites take for granted: kinds with their rules, Services that
// become endpoints that answer, Secrets in files, logs, tokens and rights. It prints `ok - …` or `not ok - …`
// for each.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const namespace = "smoke"

type smoke struct {
	config  *rest.Config
	client  *kubernetes.Clientset
	dynamic dynamic.Interface
}

func main() {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		fmt.Println("not ok - a configuration from KUBECONFIG:", err)
		os.Exit(1)
	}
	config.QPS = -1
	s := &smoke{config: config, client: kubernetes.NewForConfigOrDie(config),
		dynamic: dynamic.NewForConfigOrDie(config)}
	failed := 0
	for _, check := range []struct {
		name string
		run  func(*smoke, context.Context) error
	}{
		{"the kinds of the Gateway API are served, and their rules are kept", (*smoke).kinds},
		{"a Service and its Pods become endpoints that answer HTTP", (*smoke).endpoints},
		{"a Secret that comes after the Pod is a file in it", (*smoke).secrets},
		{"what a container writes can be read through the API server", (*smoke).logs},
		{"a Pod that is deleted gives way to another at another address", (*smoke).replacement},
		{"an account gets a token, and has the rights that it was given", (*smoke).accounts},
	} {
		ctx, stop := context.WithTimeout(context.Background(), time.Minute)
		if err := check.run(s, ctx); err != nil {
			failed++
			fmt.Printf("not ok - %s: %v\n", check.name, err)
		} else {
			fmt.Printf("ok - %s\n", check.name)
		}
		stop()
	}
	if failed > 0 {
		s.showPods()
		os.Exit(1)
	}
}

// showPods helps whoever reads of a failure.
func (s *smoke) showPods() {
	pods, err := s.client.CoreV1().Pods(namespace).List(context.Background(), metav1.ListOptions{})
	if err != nil {
		return
	}
	for _, pod := range pods.Items {
		fmt.Fprintln(os.Stderr, pod.Name, pod.Status.Phase, pod.Status.PodIP)
		for _, status := range pod.Status.ContainerStatuses {
			fmt.Fprintf(os.Stderr, "  %s ready=%t %+v\n", status.Name, status.Ready, status.State)
		}
	}
}

// until asks again until there is no error, and says the last one when the time is over.
func until(ctx context.Context, ask func(context.Context) error) error {
	var last error
	err := wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		last = ask(ctx)
		return last == nil, nil
	})
	if err != nil {
		return errors.Join(err, last)
	}
	return nil
}

func (s *smoke) pods(ctx context.Context, app string) ([]corev1.Pod, error) {
	list, err := s.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + app})
	if err != nil {
		return nil, err
	}
	if len(list.Items) == 0 {
		return nil, fmt.Errorf("%s has no Pod", app)
	}
	return list.Items, nil
}

func expect(text, part string) error {
	if !strings.Contains(text, part) {
		return fmt.Errorf("%q is not in %q", part, text)
	}
	return nil
}
