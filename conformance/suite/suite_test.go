// Package suite runs the official conformance suite of the Gateway API, as it is pinned in go.mod, against
// whatever cluster KUBECONFIG names. Its flags are the suite's own; the README tells the useful ones.
package suite

import (
	"context"
	"flag"
	"os"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/config"
	"sigs.k8s.io/gateway-api/conformance"

	v1 "sigs.k8s.io/gateway-api/apis/v1"
)

func TestMain(m *testing.M) {
	// The command line comes after, and wins.
	if err := flag.Set("gateway-class", "limen"); err != nil {
		panic(err)
	}
	flag.Parse()
	os.Exit(m.Run())
}

func TestConformance(t *testing.T) {
	awaitFeatures(t, flag.Lookup("gateway-class").Value.String())
	conformance.RunConformance(t)
}

// awaitFeatures waits until the class says what its Gateways can do: the suite reads that once, before it waits for
// the class.
func awaitFeatures(t *testing.T, name string) {
	restConfig, err := config.GetConfig()
	if err != nil {
		t.Fatal(err)
	}
	kube, err := client.New(restConfig, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := v1.Install(kube.Scheme()); err != nil {
		t.Fatal(err)
	}
	told := func(ctx context.Context) (bool, error) {
		var class v1.GatewayClass
		err := kube.Get(ctx, types.NamespacedName{Name: name}, &class)
		return err == nil && len(class.Status.SupportedFeatures) > 0, nil
	}
	if err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, 3*time.Minute, true, told); err != nil {
		t.Fatalf("GatewayClass %s says nothing of what it supports: %v", name, err)
	}
}
