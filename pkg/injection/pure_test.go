package injection

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestDecisionsNeedNoCluster looks at everything that this package is built from:
// programs that only decide, such as a command line tool, must not be given a client
// for Kubernetes, a cache or the Kubernetes types of TiDB Operator.
func TestDecisionsNeedNoCluster(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	packages := strings.Fields(string(out))
	if !slices.Contains(packages, "github.com/tidelay/tidelay/pkg/tidbcluster") {
		t.Fatalf("go list does not name what is known to be there: %s", out)
	}
	for _, path := range packages {
		for _, prefix := range []string{
			"k8s.io/client-go", "sigs.k8s.io/controller-runtime", "github.com/pingcap", "github.com/prometheus", "github.com/tidelay/tidelay/pkg/confirm",
		} {
			if strings.HasPrefix(path, prefix) {
				t.Errorf("package injection is built from %s", path)
			}
		}
	}
}
