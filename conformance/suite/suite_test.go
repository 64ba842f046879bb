// Package suite runs the official conformance suite of the Gateway API, as it is pinned in go.mod, against
// whatever cluster KUBECONFIG names. Its flags are the suite's own; the README tells the useful ones.
package suite

import (
	"flag"
	"os"
	"testing"

	"sigs.k8s.io/gateway-api/conformance"
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
	conformance.RunConformance(t)
}
