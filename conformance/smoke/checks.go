package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const echo = "registry.k8s.io/gateway-api/echo-basic:v1"

func (s *smoke) kinds(ctx context.Context) error {
	name := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	if _, err := s.client.CoreV1().Namespaces().Create(ctx, name, metav1.CreateOptions{}); err != nil {
		return err
	}
	route := func(path string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
			"metadata": map[string]any{"generateName": "route-", "namespace": namespace},
			"spec": map[string]any{"rules": []any{map[string]any{"matches": []any{map[string]any{
				"path": map[string]any{"type": "PathPrefix", "value": path}}}}}},
		}}
	}
	routes := s.dynamic.Resource(schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1",
		Resource: "httproutes"}).Namespace(namespace)
	if err := until(ctx, func(ctx context.Context) error {
		_, err := routes.Create(ctx, route("/good"), metav1.CreateOptions{})
		return err
	}); err != nil {
		return err
	}
	if _, err := routes.Create(ctx, route("/not//good"), metav1.CreateOptions{}); !apierrors.IsInvalid(err) {
		return fmt.Errorf("a path that the kind's rules forbid was answered with %v", err)
	}
	return nil
}

// deploy makes a Deployment and a Service of the echo server under one name.
func (s *smoke) deploy(ctx context.Context, app string, replicas int32, port int32, alter func(*corev1.PodSpec)) error {
	labels := map[string]string{"app": app}
	field := func(path string) *corev1.EnvVarSource {
		return &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}
	}
	pod := corev1.PodSpec{Containers: []corev1.Container{{Name: app, Image: echo, Env: []corev1.EnvVar{
		{Name: "POD_NAME", ValueFrom: field("metadata.name")},
		{Name: "NAMESPACE", ValueFrom: field("metadata.namespace")},
		{Name: "SERVICE_NAME", Value: "$(NAMESPACE).$(ABSENT)"},
	}, ReadinessProbe: &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{
		HTTPGet: &corev1.HTTPGetAction{Path: "/health", Port: intstr.FromInt32(3000)}}}}}}
	if alter != nil {
		alter(&pod)
	}
	_, err := s.client.AppsV1().Deployments(namespace).Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: app},
		Spec: appsv1.DeploymentSpec{Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: pod}},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	_, err = s.client.CoreV1().Services(namespace).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: app},
		Spec:       corev1.ServiceSpec{Selector: labels, Ports: []corev1.ServicePort{{Name: "first", Port: port}}},
	}, metav1.CreateOptions{})
	return err
}

// ready waits until a Service has that many ready endpoints, and returns their addresses.
func (s *smoke) ready(ctx context.Context, service string, many int) (found []string, err error) {
	err = until(ctx, func(ctx context.Context) error {
		slices, err := s.client.DiscoveryV1().EndpointSlices(namespace).List(ctx, metav1.ListOptions{
			LabelSelector: discoveryv1.LabelServiceName + "=" + service})
		if err != nil {
			return err
		}
		found = nil
		for _, slice := range slices.Items {
			for _, endpoint := range slice.Endpoints {
				if endpoint.Conditions.Ready != nil && *endpoint.Conditions.Ready {
					found = append(found, net.JoinHostPort(endpoint.Addresses[0], fmt.Sprint(*slice.Ports[0].Port)))
				}
			}
		}
		if len(found) != many {
			return fmt.Errorf("%s has ready endpoints %v, not %d", service, found, many)
		}
		return nil
	})
	return found, err
}

// get asks once; an endpoint that is said to be ready has to answer.
func get(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // it is the file that is asked for
	answer, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, answer.Status)
	}
	return string(text), err
}

func (s *smoke) endpoints(ctx context.Context) error {
	if err := s.deploy(ctx, "plain", 2, 3000, nil); err != nil {
		return err
	}
	addresses, err := s.ready(ctx, "plain", 2)
	if err != nil {
		return err
	}
	pods, err := s.pods(ctx, "plain")
	if err != nil {
		return err
	}
	for _, pod := range pods {
		text, err := get(ctx, "http://"+net.JoinHostPort(pod.Status.PodIP, "3000")+"/who")
		if err != nil {
			return err
		}
		if err := errors.Join(expect(text, `"pod": "`+pod.Name+`"`), expect(text, namespace+".$(ABSENT)"),
			expect(fmt.Sprint(addresses), pod.Status.PodIP)); err != nil {
			return err
		}
	}
	return nil
}

func (s *smoke) secrets(ctx context.Context) error {
	err := s.deploy(ctx, "sealed", 1, 8443, func(pod *corev1.PodSpec) {
		pod.Volumes = []corev1.Volume{{Name: "keys", VolumeSource: corev1.VolumeSource{
			Secret: &corev1.SecretVolumeSource{SecretName: "keys", Items: []corev1.KeyToPath{
				{Key: corev1.TLSCertKey, Path: "of/crt"}, {Key: corev1.TLSPrivateKeyKey, Path: "of/key"}}}}}}
		pod.Containers[0].ReadinessProbe.ProbeHandler = corev1.ProbeHandler{
			TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(8443)}}
		pod.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "keys", MountPath: "/etc/keys"}}
		pod.Containers[0].Env = append(pod.Containers[0].Env,
			corev1.EnvVar{Name: "TLS_SERVER_CERT", Value: "/etc/keys/of/crt"},
			corev1.EnvVar{Name: "TLS_SERVER_PRIVKEY", Value: "/etc/keys/of/key"})
	})
	if err != nil {
		return err
	}
	// Not before it is seen to be missed.
	if err := until(ctx, func(ctx context.Context) error {
		pods, err := s.pods(ctx, "sealed")
		if err != nil {
			return err
		}
		for _, status := range pods[0].Status.ContainerStatuses {
			if status.State.Waiting != nil && status.State.Waiting.Reason == "CreateContainerConfigError" {
				return nil
			}
		}
		return errors.New("the container is not said to wait for its Secret")
	}); err != nil {
		return err
	}
	certificate, key, err := keyPair()
	if err != nil {
		return err
	}
	_, err = s.client.CoreV1().Secrets(namespace).Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "keys"}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{corev1.TLSCertKey: certificate, corev1.TLSPrivateKeyKey: key},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	addresses, err := s.ready(ctx, "sealed", 1)
	if err != nil {
		return err
	}
	text, err := get(ctx, "https://"+addresses[0]+"/")
	if err != nil {
		return err
	}
	return expect(text, `"tls"`)
}

func keyPair() (certificate, private []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"smoke"},
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

func (s *smoke) logs(ctx context.Context) error {
	pods, err := s.pods(ctx, "plain")
	if err != nil {
		return err
	}
	before := metav1.Now()
	if _, err := get(ctx, "http://"+net.JoinHostPort(pods[0].Status.PodIP, "3000")+"/logged"); err != nil {
		return err
	}
	return until(ctx, func(ctx context.Context) error {
		text, err := s.client.CoreV1().Pods(namespace).GetLogs(pods[0].Name, &corev1.PodLogOptions{
			Container: "plain", SinceTime: &before}).DoRaw(ctx)
		if err != nil {
			return err
		}
		return expect(string(text), "Echoing back request made to /logged")
	})
}

func (s *smoke) replacement(ctx context.Context) error {
	pods, err := s.pods(ctx, "plain")
	if err != nil {
		return err
	}
	gone := net.JoinHostPort(pods[0].Status.PodIP, "3000")
	if err := s.client.CoreV1().Pods(namespace).Delete(ctx, pods[0].Name, metav1.DeleteOptions{}); err != nil {
		return err
	}
	if err := until(ctx, func(ctx context.Context) error {
		_, err := s.client.CoreV1().Pods(namespace).Get(ctx, pods[0].Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is still there (%w)", err)
	}); err != nil {
		return err
	}
	addresses, err := s.ready(ctx, "plain", 2)
	if err != nil {
		return err
	}
	for _, address := range addresses {
		if address == gone {
			return fmt.Errorf("%s is an endpoint still", gone)
		}
		if _, err := get(ctx, "http://"+address); err != nil {
			return err
		}
	}
	short, stop := context.WithTimeout(ctx, time.Second)
	defer stop()
	if _, err := get(short, "http://"+gone); err == nil {
		return fmt.Errorf("%s answers still", gone)
	}
	return nil
}

func (s *smoke) accounts(ctx context.Context) error {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "reader"}}
	accounts := s.client.CoreV1().ServiceAccounts(namespace)
	if _, err := accounts.Create(ctx, account, metav1.CreateOptions{}); err != nil {
		return err
	}
	answer, err := accounts.CreateToken(ctx, "reader", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	config := rest.AnonymousClientConfig(s.config)
	config.BearerToken = answer.Status.Token
	as, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	if _, err := as.CoreV1().Services(namespace).List(ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		return fmt.Errorf("an account without rights that lists Services is answered with %v", err)
	}
	rights := s.client.RbacV1()
	_, err = rights.Roles(namespace).Create(ctx, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "reader"},
		Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"services"},
			Verbs: []string{"list"}}}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	_, err = rights.RoleBindings(namespace).Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "reader"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "reader"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: "reader", Namespace: namespace}},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	return until(ctx, func(ctx context.Context) error {
		_, err := as.CoreV1().Services(namespace).List(ctx, metav1.ListOptions{})
		return err
	})
}
