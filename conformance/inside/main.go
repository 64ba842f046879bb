// Command inside asks a Limen that runs as a Pod of the cluster, by its service account and with the rights of
// deploy/rbac.yaml, for the service of objects.yaml in each of the APIs. It prints `ok - …` or `not ok - …` for each.
//
//	LIMEN=… conformance/cluster --apply conformance/inside/namespace.yaml --apply deploy/rbac.yaml \
//	    --apply conformance/inside/objects.yaml -- inside
//
// `inside deployed` asks one that makes instances for Gateways (deploy/deployer.yaml, deployed.yaml) for those.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

type inside struct {
	client  *kubernetes.Clientset
	dynamic dynamic.Interface
	pod     *corev1.Pod // Limen's, once it is ready
}

func main() {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		fmt.Println("not ok - a configuration from KUBECONFIG:", err)
		os.Exit(1)
	}
	// It asks again and again, and the last answer is told.
	config.QPS, config.Burst = 100, 200
	i := &inside{client: kubernetes.NewForConfigOrDie(config), dynamic: dynamic.NewForConfigOrDie(config)}
	failed := 0
	check := func(name string, run func(context.Context) error) {
		ctx, stop := context.WithTimeout(context.Background(), time.Minute)
		defer stop()
		if err := run(ctx); err != nil {
			failed++
			fmt.Printf("not ok - %s: %v\n", name, err)
		} else {
			fmt.Printf("ok - %s\n", name)
		}
	}
	check("as a Pod it becomes ready by its service account", i.ready)
	switch {
	case failed > 0:
	case len(os.Args) > 1 && os.Args[1] == "deployed":
		i.deployed(check)
	default:
		for _, host := range []string{"istio.example.com", "api.example.com", "ingress.example.com"} {
			check("it serves "+host, func(ctx context.Context) error { return i.serves(ctx, host) })
		}
		check("it follows a Service to other Pods", i.follows)
		check("its Gateway and its route say that they are served", i.says)
		check("three instances count when all of them serve, and one that is left alone", i.counts)
		check("it lacks no right", i.allowed)
		// Last: a server that starts knows nobody's rights for a moment.
		check("an API server that is killed disturbs no request, and what changes after it is served", i.outlives)
	}
	if failed > 0 {
		text, err := i.log(context.Background())
		for line := range strings.Lines(text) {
			if !strings.HasPrefix(line, "[") { // of the access log
				fmt.Fprint(os.Stderr, line)
			}
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
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

// pods are those of an app that are to stay.
func (i *inside) pods(ctx context.Context, namespace, app string) ([]corev1.Pod, error) {
	list, err := i.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + app})
	if err != nil {
		return nil, err
	}
	// One that was told to end drains for a while, and may go between two questions.
	stay := slices.DeleteFunc(list.Items, func(pod corev1.Pod) bool { return pod.DeletionTimestamp != nil })
	if len(stay) == 0 {
		return nil, fmt.Errorf("%s has no Pod", app)
	}
	return stay, nil
}

func (i *inside) ready(ctx context.Context) error {
	return until(ctx, func(ctx context.Context) error {
		pods, err := i.pods(ctx, "istio-system", "limen")
		if err != nil {
			return err
		}
		for _, condition := range pods[0].Status.Conditions {
			if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue {
				i.pod = &pods[0]
				return nil
			}
		}
		return errors.New("the Pod is not ready")
	})
}

// get returns the answer for a host, where it is 200.
func (i *inside) get(ctx context.Context, host string) (string, error) {
	url := "http://" + net.JoinHostPort(i.pod.Status.PodIP, "80") + "/"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	request.Host = host
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", host, answer.Status)
	}
	return string(text), err
}

func (i *inside) serves(ctx context.Context, host string) error {
	return until(ctx, func(ctx context.Context) error {
		text, err := i.get(ctx, host)
		if err == nil && !strings.Contains(text, `"pod": "echo-`) {
			err = fmt.Errorf("not the service's answer: %s", text)
		}
		return err
	})
}

func (i *inside) follows(ctx context.Context) error {
	before, err := i.pods(ctx, "shop", "echo")
	if err != nil {
		return err
	}
	if err := i.client.CoreV1().Pods("shop").Delete(ctx, before[0].Name, metav1.DeleteOptions{}); err != nil {
		return err
	}
	return until(ctx, func(ctx context.Context) error {
		text, err := i.get(ctx, "istio.example.com")
		if err == nil && strings.Contains(text, before[0].Name) {
			err = errors.New("the Pod that was deleted answers")
		}
		return err
	})
}

func (i *inside) object(ctx context.Context, plural, name string) (*unstructured.Unstructured, error) {
	kind := schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: plural}
	return i.dynamic.Resource(kind).Namespace("shop").Get(ctx, name, metav1.GetOptions{})
}

// condition returns the message of a condition, where that is true.
func condition(of map[string]any, name string) (string, error) {
	conditions, _, err := unstructured.NestedSlice(of, "conditions")
	for _, one := range conditions {
		if one := one.(map[string]any); one["type"] == name && one["status"] == "True" {
			return one["message"].(string), nil
		}
	}
	return "", errors.Join(err, fmt.Errorf("%s is not true in %v", name, conditions))
}

func (i *inside) programmed(ctx context.Context) (string, error) {
	gateway, err := i.object(ctx, "gateways", "edge")
	if err != nil {
		return "", err
	}
	status, _, err := unstructured.NestedMap(gateway.Object, "status")
	if err != nil {
		return "", err
	}
	return condition(status, "Programmed")
}

func (i *inside) says(ctx context.Context) error {
	return until(ctx, func(ctx context.Context) error {
		if _, err := i.programmed(ctx); err != nil {
			return err
		}
		route, err := i.object(ctx, "httproutes", "echo")
		if err != nil {
			return err
		}
		parents, _, err := unstructured.NestedSlice(route.Object, "status", "parents")
		if err != nil || len(parents) != 1 {
			return errors.Join(err, fmt.Errorf("the route has parents %v", parents))
		}
		_, accepted := condition(parents[0].(map[string]any), "Accepted")
		_, resolved := condition(parents[0].(map[string]any), "ResolvedRefs")
		return errors.Join(accepted, resolved)
	})
}

func (i *inside) counts(ctx context.Context) error {
	for _, many := range []int32{3, 1} {
		deployments := i.client.AppsV1().Deployments("istio-system")
		scale, err := deployments.GetScale(ctx, "limen", metav1.GetOptions{})
		if err != nil {
			return err
		}
		scale.Spec.Replicas = many
		if _, err := deployments.UpdateScale(ctx, "limen", scale, metav1.UpdateOptions{}); err != nil {
			return err
		}
		if err := until(ctx, func(ctx context.Context) error {
			message, err := i.programmed(ctx)
			if err == nil && !strings.Contains(message, fmt.Sprintf("%d/%d", many, many)) {
				err = errors.New(message)
			}
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// outlives kills the API server, which hollow starts again, while a client asks without end.
func (i *inside) outlives(ctx context.Context) error {
	// The Pod that was asked before may be one of those that went.
	if err := i.ready(ctx); err != nil {
		return err
	}
	server, err := process("kube-apiserver")
	if err != nil {
		return err
	}
	asking, stop := context.WithCancel(ctx)
	defer stop()
	heard := make(chan error, 1)
	go func() {
		var err error
		for err == nil && asking.Err() == nil {
			_, err = i.get(ctx, "istio.example.com")
			time.Sleep(time.Millisecond)
		}
		heard <- err
	}()
	if err := server.Kill(); err != nil {
		return err
	}
	kind := schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1", Resource: "gateways"}
	patch := []byte(`{"spec": {"servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, ` +
		`"hosts": ["istio.example.com", "later.example.com"]}]}}`)
	route := []byte(`{"spec": {"hosts": ["istio.example.com", "later.example.com"]}}`)
	for plural, text := range map[string][]byte{"gateways": patch, "virtualservices": route} {
		kind.Resource = plural
		name := map[string]string{"gateways": "edge", "virtualservices": "echo"}[plural]
		if err := until(ctx, func(ctx context.Context) error {
			_, err := i.dynamic.Resource(kind).Namespace("shop").Patch(ctx, name, types.MergePatchType, text, metav1.PatchOptions{})
			return err
		}); err != nil {
			return err
		}
	}
	err = i.serves(ctx, "later.example.com")
	stop()
	return errors.Join(err, <-heard)
}

// process finds one by the name of its program.
func process(name string) (*os.Process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline"))
		if program, _, _ := strings.Cut(string(text), "\x00"); err == nil && filepath.Base(program) == name {
			return os.FindProcess(pid)
		}
	}
	return nil, fmt.Errorf("no process is a %s", name)
}

func (i *inside) log(ctx context.Context) (string, error) {
	if i.pod == nil {
		pods, err := i.pods(ctx, "istio-system", "limen")
		if err != nil {
			return "", err
		}
		i.pod = &pods[0]
	}
	text, err := i.client.CoreV1().Pods(i.pod.Namespace).GetLogs(i.pod.Name, &corev1.PodLogOptions{}).DoRaw(ctx)
	return string(text), err
}

// allowed reads the log of the Pod that is left, in which each kind is named that may not be read or written.
func (i *inside) allowed(ctx context.Context) error {
	i.pod = nil
	text, err := i.log(ctx)
	if err != nil {
		return err
	}
	return refused(text)
}

// refused finds what was not allowed in a log.
func refused(text string) error {
	for line := range strings.Lines(text) {
		if strings.Contains(line, "does not allow") || strings.Contains(strings.ToLower(line), "forbidden") {
			return errors.New(strings.TrimSpace(line))
		}
	}
	return nil
}
