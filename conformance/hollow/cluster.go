package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// The network is hollow's own, so that ports need not be found: these are the usual ones.
const (
	apiPort     = "6443"
	nodePort    = 10250
	services    = "10.246.0.0/16" // never served: whoever asks for an address of it is refused at once
	etcdAddress = "127.0.0.1:2379"
	etcdURL     = "http://" + etcdAddress
	peerURL     = "http://127.0.0.1:2380"
)

// The controllers that suites lean on. Those that watch over machines, volumes and clouds have nothing to
// watch here.
var controllers = []string{
	"clusterrole-aggregation-controller", "cronjob-controller", "daemonset-controller", "deployment-controller",
	"disruption-controller", "endpoints-controller", "endpointslice-controller", "endpointslice-mirroring-controller",
	"garbage-collector-controller", "job-controller", "namespace-controller", "replicaset-controller",
	"root-ca-certificate-publisher-controller", "serviceaccount-controller", "statefulset-controller",
	"validatingadmissionpolicy-status-controller",
}

// cluster is the control plane as it runs.
type cluster struct {
	keys       *keys
	config     *rest.Config // of an administrator
	client     *kubernetes.Clientset
	kubeconfig string
	fallen     chan error // says which part ended by itself
	logs       string
}

func startCluster(ctx context.Context, s settings, n *network) (*cluster, error) {
	c := &cluster{fallen: make(chan error, 3), logs: filepath.Join(s.state, "logs")}
	if err := os.MkdirAll(c.logs, 0o755); err != nil {
		return nil, err
	}
	if err := c.makeKeys(filepath.Join(s.state, "keys"), n); err != nil {
		return nil, err
	}
	server := "https://" + net.JoinHostPort(n.node.String(), apiPort)
	var err error
	if c.kubeconfig, err = c.keys.kubeconfig("admin", server); err != nil {
		return nil, err
	}
	managers, err := c.keys.kubeconfig("controllers", server)
	if err != nil {
		return nil, err
	}
	if c.config, err = clientcmd.BuildConfigFromFlags("", c.kubeconfig); err != nil {
		return nil, err
	}
	c.config.QPS = -1 // without a limit of one's own: it would hold back a node that has the server to itself
	if c.client, err = kubernetes.NewForConfig(c.config); err != nil {
		return nil, err
	}
	if err := c.startServer(s, n); err != nil {
		return nil, err
	}
	if err := c.waitReady(ctx); err != nil {
		return nil, err
	}
	return c, c.startControllers(s, managers)
}

func (c *cluster) makeKeys(folder string, n *network) error {
	var err error
	if c.keys, err = newKeys(folder); err != nil {
		return err
	}
	names := []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
		"kubernetes.default.svc.cluster.local"}
	node := net.IP(n.node.AsSlice())
	return errors.Join(
		c.keys.server("apiserver", names, []net.IP{node, net.ParseIP("127.0.0.1"), net.ParseIP("10.246.0.1")}),
		c.keys.server("node", []string{nodeName}, []net.IP{node}),
		c.keys.client("node-client", "kube-apiserver"),
		c.keys.client("admin", "admin", "system:masters"),
		c.keys.client("controllers", "system:kube-controller-manager"),
		c.keys.client("tokens", "tokens"),
	)
}

func (c *cluster) startServer(s settings, n *network) error {
	path := c.keys.path
	if err := c.start(s.parts, "etcd",
		"--data-dir="+filepath.Join(s.state, "etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls="+etcdURL, "--advertise-client-urls="+etcdURL,
		"--listen-peer-urls="+peerURL, "--initial-advertise-peer-urls="+peerURL,
		"--name=hollow", "--initial-cluster=hollow="+peerURL,
	); err != nil {
		return err
	}
	return c.start(s.parts, "kube-apiserver",
		"--etcd-servers="+etcdURL, "--secure-port="+apiPort, "--advertise-address="+n.node.String(),
		// Gateways may want the port on addresses of their own.
		"--bind-address="+n.node.String(),
		"--service-cluster-ip-range="+services, "--authorization-mode=RBAC", "--allow-privileged",
		"--client-ca-file="+path("ca.crt"),
		"--tls-cert-file="+path("apiserver.crt"), "--tls-private-key-file="+path("apiserver.key"),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file="+path("tokens.crt"), "--service-account-signing-key-file="+path("tokens.key"),
		"--kubelet-certificate-authority="+path("ca.crt"), "--kubelet-preferred-address-types=InternalIP",
		"--kubelet-client-certificate="+path("node-client.crt"), "--kubelet-client-key="+path("node-client.key"),
	)
}

func (c *cluster) startControllers(s settings, managers string) error {
	path := c.keys.path
	return c.start(s.parts, "kube-controller-manager",
		"--kubeconfig="+managers, "--authentication-kubeconfig="+managers, "--authorization-kubeconfig="+managers,
		"--bind-address=127.0.0.1", "--leader-elect=false", "--controllers="+strings.Join(controllers, ","),
		"--use-service-account-credentials", "--root-ca-file="+path("ca.crt"),
		"--service-account-private-key-file="+path("tokens.key"),
	)
}

// start runs one part with its output in a file. The API server and the controllers may give up while what
// they lean on is not up yet; they are started again.
func (c *cluster) start(parts, name string, arguments ...string) error {
	log, err := os.Create(filepath.Join(c.logs, name+".log"))
	if err != nil {
		return err
	}
	run := func() (*exec.Cmd, error) {
		part := exec.Command(filepath.Join(parts, name), arguments...)
		part.Stdout, part.Stderr = log, log
		return part, part.Start()
	}
	part, err := run()
	if err != nil {
		return err
	}
	go func() {
		var err error
		for again := 0; again < 10; again++ {
			if again > 0 {
				time.Sleep(time.Second)
				if part, err = run(); err != nil {
					break
				}
			}
			if err = ended(part.Wait()); name == "etcd" {
				break
			}
		}
		c.fallen <- fmt.Errorf("%s ended by itself (%w): %s", name, err, log.Name())
	}()
	return nil
}

func (c *cluster) waitReady(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, 3*time.Minute)
	defer stop()
	var last error
	err := wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		select {
		case err := <-c.fallen:
			return false, err
		default:
		}
		_, last = c.client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("the API server did not become ready (logs: %s): %w", c.logs, errors.Join(err, last))
	}
	return nil
}
