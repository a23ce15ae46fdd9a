package netlab

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What a run of the tests is told by its environment.
const (
	// envEngine is the engine under test in this process.
	envEngine = "TIDELAY_ENGINE"
	// envEngines are all engines that are tried on this machine, in order, with
	// spaces between. Without it envEngine is the only one.
	envEngines = "TIDELAY_ENGINES"
	// envShard is this process's part of the tests, such as "1/2". Without it a
	// process runs all.
	envShard = "TIDELAY_SHARD"
)

// Main runs the tests of this process's shard, and fails the run when more
// measurements than the budget allows were repeated. It returns the exit status.
func Main(m *testing.M) int {
	if !flag.Parsed() {
		flag.Parse()
	}
	if Listing() {
		return m.Run()
	}
	if err := errors.Join(checkEngines(), skipOtherShards()); err != nil {
		fmt.Fprintln(os.Stderr, "netlab:", err)
		return 1
	}
	status := m.Run()
	text, exceeded := spent.report()
	fmt.Fprintln(os.Stderr, "netlab:", text)
	if exceeded {
		fmt.Fprintln(os.Stderr, "netlab: FAIL: so many repetitions hide a fault, or the machine is too busy to measure anything")
		status = cmp.Or(status, 1)
	}
	return status
}

// Listing says that tests are to be named and not run, so that nothing needs to
// be made for them.
func Listing() bool {
	if !flag.Parsed() {
		flag.Parse()
	}
	return flag.Lookup("test.list").Value.String() != ""
}

// EngineIndependent ends a test that does not depend on the engine, unless this
// process tries the first of all engines.
func EngineIndependent(t testing.TB) {
	t.Helper()
	if first := firstEngine(); first != os.Getenv(envEngine) {
		t.Skipf("does not depend on the engine: it is proved with %s, which is tried first", first)
	}
}

func firstEngine() string {
	return append(strings.Fields(os.Getenv(envEngines)), os.Getenv(envEngine))[0]
}

// checkEngines wants the engine of this process to be in the list of all. The
// first of the list is the one that runs what EngineIndependent skips.
func checkEngines() error {
	engine, all := os.Getenv(envEngine), strings.Fields(os.Getenv(envEngines))
	if len(all) > 0 && !slices.Contains(all, engine) {
		return fmt.Errorf("%s is %q, which is none of %s=%q", envEngine, engine, envEngines, all)
	}
	return nil
}

// shard is one of several parts of the tests.
type shard struct{ number, of int }

func parseShard(text string) (shard, error) {
	if text == "" {
		return shard{1, 1}, nil
	}
	var s shard
	var rest string
	if n, _ := fmt.Sscanf(text, "%d/%d%s", &s.number, &s.of, &rest); n != 2 || s.number < 1 || s.number > s.of {
		return s, fmt.Errorf("%s is %q: want a number and how many there are, such as 1/2", envShard, text)
	}
	return s, nil
}

// has says whether a test is in the shard. Every test is in exactly one.
func (s shard) has(test string) bool {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(test))
	return int(hash.Sum32()%uint32(s.of)) == s.number-1
}

// skipOtherShards has the tests skipped that are in the shard of another process.
func skipOtherShards() error {
	s, err := parseShard(os.Getenv(envShard))
	if err != nil || s.of == 1 {
		return err
	}
	tests, err := listTests()
	if err != nil {
		return err
	}
	var others []string
	for _, test := range tests {
		if !s.has(test) {
			others = append(others, regexp.QuoteMeta(test))
		}
	}
	fmt.Fprintf(os.Stderr, "netlab: shard %d of %d: %d of %d tests\n", s.number, s.of, len(tests)-len(others), len(tests))
	if len(others) == 0 {
		return nil
	}
	skip := flag.Lookup("test.skip")
	pattern := "^(" + strings.Join(others, "|") + ")$"
	if given := skip.Value.String(); given != "" {
		pattern = given + "|" + pattern
	}
	return skip.Value.Set(pattern)
}

// listTests names all tests of this program.
func listTests() ([]string, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	out, err := exec.CommandContext(context.Background(), program, "-test.list=^Test").Output()
	if err != nil {
		return nil, fmt.Errorf("list the tests: %w", err)
	}
	tests := strings.Fields(string(out))
	if len(tests) == 0 {
		return nil, errors.New("list the tests: there are none")
	}
	return tests, nil
}
