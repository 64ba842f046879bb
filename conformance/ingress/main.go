// Command ingress asks a cluster with an Ingress controller for what the Ingress API says of hosts, paths, classes,
// default backends, certificates and balancing, in the order in which a user would meet it: what the status tells is
// dialled, and nothing before it tells. It prints `ok - …` or `not ok - …` for each.
//
//	LIMEN=… conformance/cluster --beside 'limen run --kube' -- ingress --class limen
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

const (
	namespace = "ingress"
	echo      = "registry.k8s.io/gateway-api/echo-basic:v1"
	replicas  = 10
	byDefault = "many" // the Service that answers where no rule does, once there is a default backend
)

//go:embed objects.yaml
var objects string

type tester struct {
	client  *kubernetes.Clientset
	class   string
	address string // what the status of the Ingresses said
	failed  int
}

func main() {
	class := flag.String("class", "limen", "class of the Ingresses")
	flag.Parse()
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		fmt.Println("not ok - a configuration from KUBECONFIG:", err)
		os.Exit(1)
	}
	config.QPS = -1
	t := &tester{client: kubernetes.NewForConfigOrDie(config), class: *class}
	if t.check("services and Ingresses are taken", t.make) && t.check("each Ingress gets an address", t.addresses) {
		t.check("an Ingress of another class gets none", t.foreign)
		for _, one := range asks {
			if one.service == byDefault {
				one.service = ""
			}
			t.check(one.String(), func(ctx context.Context) error { return t.ask(ctx, one) })
		}
		t.check("https://exact.test/ shows the certificate of its Secret", t.certificate)
		if t.check("a default backend gets an address", t.last) {
			for _, one := range asks {
				if one.service == byDefault {
					t.check(one.String(), func(ctx context.Context) error { return t.ask(ctx, one) })
				}
			}
			t.check("all Pods of a Service are asked", t.balance)
		}
	}
	if t.failed > 0 {
		os.Exit(1)
	}
}

func (t *tester) check(name string, run func(context.Context) error) bool {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	if err := run(ctx); err != nil {
		t.failed++
		fmt.Printf("not ok - %s: %v\n", name, err)
		return false
	}
	fmt.Printf("ok - %s\n", name)
	return true
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

func (t *tester) make(ctx context.Context) error {
	name := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	if _, err := t.client.CoreV1().Namespaces().Create(ctx, name, metav1.CreateOptions{}); err != nil {
		return err
	}
	for service, many := range map[string]int32{"one": 1, "two": 1, byDefault: replicas} {
		if err := t.service(ctx, service, many); err != nil {
			return err
		}
	}
	certificate, key, err := keyPair("exact.test")
	if err != nil {
		return err
	}
	if _, err = t.client.CoreV1().Secrets(namespace).Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "exact"}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{corev1.TLSCertKey: certificate, corev1.TLSPrivateKeyKey: key},
	}, metav1.CreateOptions{}); err != nil {
		return err
	}
	texts := strings.Split(objects, "\n---\n")
	for _, text := range texts[:len(texts)-1] {
		if err := t.apply(ctx, text); err != nil {
			return err
		}
	}
	return nil
}

func (t *tester) apply(ctx context.Context, text string) error {
	var ingress networkingv1.Ingress
	if err := yaml.UnmarshalStrict([]byte(text), &ingress); err != nil {
		return err
	}
	if ingress.Spec.IngressClassName == nil {
		ingress.Spec.IngressClassName = &t.class
	}
	_, err := t.client.NetworkingV1().Ingresses(namespace).Create(ctx, &ingress, metav1.CreateOptions{})
	return err
}

// last makes the Ingress whose default backend answers what no rule does.
func (t *tester) last(ctx context.Context) error {
	texts := strings.Split(objects, "\n---\n")
	if err := t.apply(ctx, texts[len(texts)-1]); err != nil {
		return err
	}
	return t.await(ctx, "all")
}

// service makes a Service and its Pods, and waits until all of them are endpoints that are ready.
func (t *tester) service(ctx context.Context, name string, many int32) error {
	labels := map[string]string{"app": name}
	field := func(path string) *corev1.EnvVarSource {
		return &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}
	}
	container := corev1.Container{Name: "echo", Image: echo, Env: []corev1.EnvVar{
		{Name: "POD_NAME", ValueFrom: field("metadata.name")},
		{Name: "NAMESPACE", ValueFrom: field("metadata.namespace")},
		{Name: "SERVICE_NAME", Value: name},
	}, ReadinessProbe: &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{
		HTTPGet: &corev1.HTTPGetAction{Path: "/health", Port: intstr.FromInt32(3000)}}}}
	deployments := t.client.AppsV1().Deployments(namespace)
	if _, err := deployments.Create(ctx, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{Replicas: &many, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{Containers: []corev1.Container{container}}}}}, metav1.CreateOptions{}); err != nil {
		return err
	}
	port := corev1.ServicePort{Name: "http", Port: 8080, TargetPort: intstr.FromInt32(3000)}
	if _, err := t.client.CoreV1().Services(namespace).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.ServiceSpec{Selector: labels, Ports: []corev1.ServicePort{port}}}, metav1.CreateOptions{}); err != nil {
		return err
	}
	return until(ctx, func(ctx context.Context) error {
		ready, err := t.ready(ctx, name)
		if err == nil && ready != int(many) {
			err = fmt.Errorf("%s has %d ready endpoints, not %d", name, ready, many)
		}
		return err
	})
}

// ready tells how many endpoints of a Service get requests. Slices follow Pods, after a second or more at times.
func (t *tester) ready(ctx context.Context, service string) (many int, err error) {
	slices, err := t.client.DiscoveryV1().EndpointSlices(namespace).List(ctx, metav1.ListOptions{
		LabelSelector: discoveryv1.LabelServiceName + "=" + service})
	if err != nil {
		return 0, err
	}
	for _, slice := range slices.Items {
		for _, endpoint := range slice.Endpoints {
			if endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready {
				many++
			}
		}
	}
	return many, nil
}

func keyPair(host string) (certificate, private []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), nil
}

func (t *tester) told(ctx context.Context, name string) (string, error) {
	ingress, err := t.client.NetworkingV1().Ingresses(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	for _, one := range ingress.Status.LoadBalancer.Ingress {
		return one.IP + one.Hostname, nil
	}
	return "", nil
}

func (t *tester) addresses(ctx context.Context) error {
	return errors.Join(t.await(ctx, "hosts"), t.await(ctx, "paths"))
}

// await waits until the status of an Ingress tells its address, which is that of the others.
func (t *tester) await(ctx context.Context, name string) error {
	return until(ctx, func(ctx context.Context) error {
		address, err := t.told(ctx, name)
		switch {
		case err == nil && address == "":
			err = fmt.Errorf("%s has no address", name)
		case err == nil && t.address != "" && address != t.address:
			err = fmt.Errorf("%s is at %s, not at %s", name, address, t.address)
		case err == nil:
			t.address = address
		}
		return err
	})
}

// foreign comes after others, which are younger, have an address.
func (t *tester) foreign(ctx context.Context) error {
	address, err := t.told(ctx, "foreign")
	if err == nil && address != "" {
		err = fmt.Errorf("it is said to be at %s", address)
	}
	return err
}

// ask is a request, and who answers it; nobody: 404.
type ask struct{ method, host, path, service string }

func (a ask) String() string {
	if a.service == "" {
		return fmt.Sprintf("%s http://%s%s is nobody's", a.method, a.host, a.path)
	}
	return fmt.Sprintf("%s http://%s%s is answered by %s", a.method, a.host, a.path, a.service)
}

var asks = []ask{
	{"GET", "exact.test", "/", "one"},
	{"GET", "bound.wild.test", "/", "two"},
	{"GET", "two.labels.wild.test", "/", byDefault}, // a wildcard is one label
	{"GET", "wild.test", "/", byDefault},
	{"GET", "foreign.test", "/", byDefault},
	{"GET", "exact.paths.test", "/a", "one"},
	{"GET", "exact.paths.test", "/a/", byDefault},
	{"GET", "exact.paths.test", "/A", byDefault},
	{"GET", "exact.paths.test", "/a/b", byDefault},
	{"GET", "exact.paths.test", "/b", byDefault},
	{"GET", "exact.paths.test", "/slash/", "two"},
	{"GET", "exact.paths.test", "/slash", byDefault},
	{"GET", "prefix.paths.test", "/a", "one"},
	{"GET", "prefix.paths.test", "/a/", "one"},
	{"GET", "prefix.paths.test", "/a/b?c=d", "one"},
	{"GET", "prefix.paths.test", "/A", byDefault},
	{"GET", "prefix.paths.test", "/ab", byDefault},
	{"GET", "prefix.paths.test", "/long", "one"},
	{"GET", "prefix.paths.test", "/long/er", "two"},
	{"GET", "prefix.paths.test", "/long/er/still", "two"},
	{"GET", "prefix.paths.test", "/long/erer", "one"},
	{"GET", "prefix.paths.test", "/slash", "two"},
	{"GET", "prefix.paths.test", "/slash/", "two"},
	{"GET", "mixed.paths.test", "/a", "two"},
	{"GET", "mixed.paths.test", "/a/b", "one"},
	{"GET", "all.paths.test", "/", "one"},
	{"GET", "all.paths.test", "/b", "one"},
	{"GET", "all.paths.test", "/a/b", "two"},
	{"GET", "any.test", "/", byDefault},
	{"POST", "any.test", "/b", byDefault},
	{"PUT", "other.test", "/b", byDefault},
	{"DELETE", "any.test", "/b", byDefault},
	{"PATCH", "any.test", "/b", byDefault},
	{"OPTIONS", "any.test", "/b", byDefault},
}

// answer is what the echo server saw.
type answer struct {
	Path, Host, Method, Proto, Service, Pod string
	Headers                                 map[string][]string
}

func (t *tester) send(ctx context.Context, a ask) (*http.Response, answer, error) {
	var seen answer
	request, err := http.NewRequestWithContext(ctx, a.method, "http://"+t.address+a.path, nil)
	if err != nil {
		return nil, seen, err
	}
	request.Host = a.host
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, seen, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode == http.StatusOK {
		err = json.Unmarshal(text, &seen)
	}
	return response, seen, err
}

// ask asks once: an Ingress with an address is served.
func (t *tester) ask(ctx context.Context, a ask) error {
	response, seen, err := t.send(ctx, a)
	if err != nil {
		return err
	}
	if a.service == "" {
		if response.StatusCode != http.StatusNotFound {
			return fmt.Errorf("%s by %q", response.Status, seen.Service)
		}
		return nil
	}
	if response.StatusCode != http.StatusOK || seen.Service != a.service {
		return fmt.Errorf("%s by %q", response.Status, seen.Service)
	}
	if seen.Host != a.host || seen.Path != a.path || seen.Method != a.method || seen.Proto != "HTTP/1.1" {
		return fmt.Errorf("the service saw %+v", seen)
	}
	if agent := seen.Headers["User-Agent"]; len(agent) != 1 || agent[0] != "Go-http-client/1.1" {
		return fmt.Errorf("the service saw User-Agent %v", agent)
	}
	for _, name := range []string{"Content-Length", "Content-Type", "Date", "Server"} {
		if response.Header.Get(name) == "" {
			return fmt.Errorf("the answer has no %s", name)
		}
	}
	return nil
}

func (t *tester) certificate(ctx context.Context) error {
	dialer := tls.Dialer{Config: &tls.Config{ServerName: "exact.test", InsecureSkipVerify: true}} //nolint:gosec
	connection, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(t.address, "443"))
	if err != nil {
		return err
	}
	defer connection.Close()
	return connection.(*tls.Conn).ConnectionState().PeerCertificates[0].VerifyHostname("exact.test")
}

// balance asks again: Ingresses and endpoints come to whoever serves them one by one.
func (t *tester) balance(ctx context.Context) error {
	return until(ctx, func(ctx context.Context) error {
		pods := map[string]int{}
		for range 20 * replicas {
			response, seen, err := t.send(ctx, ask{"GET", "any.test", "/", byDefault})
			if err != nil {
				return err
			}
			if response.StatusCode != http.StatusOK {
				return errors.New(response.Status)
			}
			pods[seen.Pod]++
		}
		if len(pods) != replicas {
			return fmt.Errorf("%d of %d were: %v", len(pods), replicas, pods)
		}
		return nil
	})
}
