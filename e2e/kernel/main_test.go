//go:build kernel

package kernel

import (
	"cmp"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
)

// What hack/kernel-test.sh gives this package.
var (
	// agentBinary is the agent under test.
	agentBinary = os.Getenv("TIDELAY_AGENT")
	// engineName is the engine that must run.
	engineName = os.Getenv("TIDELAY_ENGINE")
	// engineFlag is the agent's --engine: auto, unless this kernel has both
	// engines and auto would choose the other.
	engineFlag = cmp.Or(os.Getenv("TIDELAY_ENGINE_FLAG"), "auto")
)

// theLab is made once, by TestMain.
var theLab *lab

// machine is what the tests run on, and says how exact it is.
var machine = netlab.ThisMachine()

// tolerance is how far a typical round trip may be from baseline plus delay.
func tolerance() time.Duration {
	if engineName == "netem" {
		return machine.Lag + 500*time.Microsecond
	}
	return machine.Lag + time.Millisecond
}

func TestMain(m *testing.M) {
	os.Exit(runTests(m))
}

// runTests refuses to start without what the tests need: a test that skips proves
// nothing.
func runTests(m *testing.M) int {
	if netlab.Listing() {
		return m.Run()
	}
	var missing []string
	if os.Geteuid() != 0 {
		missing = append(missing, "root, to make network namespaces")
	}
	if _, err := os.Stat(agentBinary); err != nil {
		missing = append(missing, "TIDELAY_AGENT, the path of the built agent")
	}
	if engineName != "netem" && engineName != "nfqueue" {
		missing = append(missing, `TIDELAY_ENGINE, "netem" or "nfqueue"`)
	}
	if len(missing) > 0 {
		fmt.Fprintf(os.Stderr, "the kernel tier needs %s; run it with `make test-kernel`\n", strings.Join(missing, ", and "))
		return 1
	}
	l, err := makeLab()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer l.Remove()
	theLab = l
	defer endShared()
	return netlab.Main(m)
}
