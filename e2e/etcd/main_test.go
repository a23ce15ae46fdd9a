//go:build kernel

package etcd

import (
	"cmp"
	"fmt"
	"os"
	"testing"

	"github.com/tidelay/tidelay/e2e/netlab"
)

// What hack/kernel-test.sh gives this package.
var (
	agentBinary = os.Getenv("TIDELAY_AGENT")
	etcdBinary  = os.Getenv("TIDELAY_ETCD")
	// engineName is the engine that must run, engineFlag the agent's --engine.
	engineName = os.Getenv("TIDELAY_ENGINE")
	engineFlag = cmp.Or(os.Getenv("TIDELAY_ENGINE_FLAG"), "auto")
)

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	if netlab.Listing() {
		return m.Run()
	}
	for name, binary := range map[string]string{"TIDELAY_AGENT": agentBinary, "TIDELAY_ETCD": etcdBinary} {
		if _, err := os.Stat(binary); err != nil {
			fmt.Fprintf(os.Stderr, "%s must be the path of the built program: %v; run `make test-kernel`\n", name, err)
			return 1
		}
	}
	defer endShared()
	return netlab.Main(m)
}

// needsSpeed ends a test that needs members which keep time. Under User Mode Linux
// all share one slow CPU: a write takes 0.2 to 0.6 s with a delay and without, and
// members probe each other so late that they close connections of their own. There
// such a test is for another kernel that has netem, also under QEMU.
func needsSpeed(t *testing.T) {
	t.Helper()
	if netlab.ThisMachine().Name == "uml" {
		t.Skip("etcd is too slow for it under User Mode Linux")
	}
}
