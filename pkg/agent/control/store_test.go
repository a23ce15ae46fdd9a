package control

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/enginetest"
	"github.com/tidelay/tidelay/pkg/fault"
)

func TestADamagedFileIsSetAsideAndReported(t *testing.T) {
	holds := func(content string) func(path string) error {
		return func(path string) error { return os.WriteFile(path, []byte(content), 0o600) }
	}
	for name, put := range map[string]func(path string) error{
		"nothing":                      holds(""),
		"half a file":                  holds(`{"version":1,"faults":[{"name":"lat`),
		"a later version":              holds(`{"version":2,"faults":[]}`),
		"no version":                   holds(`{"faults":[]}`),
		"an unknown field":             holds(`{"version":1,"faults":[{"name":"a","delay":"1ms","colour":"red"}]}`),
		"an impossible one":            holds(`{"version":1,"faults":[{"name":"latency","direction":"egress","delay":"-1ms"}]}`),
		"a delay of nothing":           holds(`{"version":1,"faults":[{"name":"latency","direction":"egress","delay":"0"}]}`),
		"the same twice":               holds(`{"version":1,"faults":[{"name":"a","delay":"1ms"},{"name":"a","delay":"2ms"}]}`),
		"five megabytes":               holds(strings.Repeat(" ", 5<<20) + `{"version":1,"faults":[]}`),
		"a directory":                  func(path string) error { return os.Mkdir(path, 0o700) },
		"a pipe that nobody writes to": func(path string) error { return syscall.Mkfifo(path, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := put(store{dir: dir}.path()); err != nil {
				t.Fatal(err)
			}
			kept := late(3 * time.Millisecond)
			e := enginetest.New(enginetest.Kernel{Faults: []fault.Fault{kept}})
			c := testControl(e, dir)
			if err := c.Restore(); err != nil {
				t.Fatalf("restore: %v", err)
			}
			if !sameFaults(e.Faults, kept) {
				t.Errorf("holds %+v, want what the kernel could tell", e.Faults)
			}
			aside, err := filepath.Glob(filepath.Join(dir, "state.json.damaged-*"))
			if err != nil || len(aside) != 1 {
				t.Fatalf("set aside: %v, %v", aside, err)
			}
			if now, err := c.Read(); err != nil || !strings.Contains(now.Warning, aside[0]) {
				t.Errorf("the status warns of %q (%v), want it to name %s", now.Warning, err, aside[0])
			}
			if err := testControl(e, dir).Restore(); err != nil {
				t.Errorf("the agent after that: %v", err)
			}
		})
	}
}

// To restore faults again does not lengthen them.
func TestRestoringAgainLengthensNothing(t *testing.T) {
	c := testControl(enginetest.New(enginetest.Kernel{Faults: []fault.Fault{late(1)}}), t.TempDir())
	c.maxDuration = time.Minute
	clock := fault.Moment{Wall: time.Now(), Boot: time.Hour}
	c.now = func() fault.Moment { return clock }
	for range 2 {
		if err := c.Restore(); err != nil {
			t.Fatal(err)
		}
		if got := c.Desired().Faults; len(got) != 1 || got[0].Deadline != time.Hour+time.Minute {
			t.Errorf("desired: %+v", got)
		}
		clock.Wall, clock.Boot = clock.Wall.Add(30*time.Second), clock.Boot+30*time.Second
	}
}

// A fault waits for an interface that is not there when the agent starts.
func TestAFaultKeepsItsDevice(t *testing.T) {
	faults, err := decodeState([]byte(`{"version":1,"faults":[{"name":"a","delay":"1ms","device":"eth9"}]}`), "")
	if err != nil || len(faults) != 1 || faults[0].Match.Device != "eth9" {
		t.Errorf("%+v, %v", faults, err)
	}
}

func FuzzDecodeState(f *testing.F) {
	f.Add([]byte(`{"version":1,"faults":[]}`))
	f.Add([]byte(`{"version":1,"faults":[{"name":"latency","direction":"egress","delay":"20ms"}]}`))
	f.Add([]byte(`{"version":1,"faults":[{"name":"a","direction":"both","peers":["10.0.0.0/8","fd00::1"],"ports":{"remote":[1,"2-3"]},` +
		`"protocol":"tcp","delay":"20ms","jitter":"5ms","correlation":25,"distribution":"normal","loss":{"gilbertElliott":{"toBad":1,"toGood":10,"lossInBad":50}},` +
		`"reorder":{"percent":1,"gap":5},"rate":{"perSecond":"10mbit","cellSize":53},"seed":7,"expiresAt":"2020-01-01T00:00:00Z"}]}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		faults, err := decodeState(content, "")
		if err != nil {
			return
		}
		dir := t.TempDir()
		if err := (store{dir: dir}).save(newSet(faults), ""); err != nil {
			t.Fatal(err)
		}
		again, err := store{dir: dir}.load("")
		if err != nil || !sameFaults(again, faults...) {
			t.Errorf("decodeState(%q) = %+v, and after save and load %+v, %v", content, faults, again, err)
		}
	})
}
