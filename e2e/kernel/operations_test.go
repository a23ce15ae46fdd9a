//go:build kernel

package kernel

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
)

// TestOperations does random things to an agent and its pod. After each of them the
// kernel has what is desired, or the status says what differs; the kernel is read
// by tc or nft, and by a ping. In the end the kernel is as it was before the agent.
//
// TIDELAY_SEED repeats the operations of a run, TIDELAY_OPERATIONS says for how long
// to go on, such as "10m".
func TestOperations(t *testing.T) {
	long, err := time.ParseDuration(cmp.Or(os.Getenv("TIDELAY_OPERATIONS"), map[string]string{"nfqueue": "40s", "netem": "60s"}[engineName]))
	if err != nil {
		t.Fatal(err)
	}
	seed, err := strconv.ParseUint(cmp.Or(os.Getenv("TIDELAY_SEED"), strconv.FormatInt(time.Now().UnixNano(), 10)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("TIDELAY_SEED=%d repeats these operations", seed)
	w := &walk{t: t}
	t.Cleanup(w.repeatFailure) // after the agent's log
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	a := freshAgent(t, "--device=eth0,net1", "--state-dir="+dir)
	w.a, w.lab, w.dir = a, a.lab, dir
	w.world = world{faults: faultSet{}, stored: faultSet{}, net1: absent, disk: works}
	t.Cleanup(w.restore) // before the agent ends
	end := time.Now().Add(long)
	for number := uint64(0); time.Now().Before(end) && !t.Failed(); number++ {
		w.random = rand.New(rand.NewPCG(seed, number)) // so that one step's choices don't depend on another's
		w.step(number, w.choose(operations()))
		w.agrees()
		w.probe()
	}
}

// walk is the agent, its pod, and what they should be.
type walk struct {
	t   *testing.T
	a   *agent
	lab *lab
	dir string // of the state file
	world
	random *rand.Rand // of this step
	said   string     // details of this step, for the log
	// await is how long the agent may take to follow what this step did. It is 0
	// for requests: they are answered when the kernel has been read back.
	await time.Duration
	clock time.Duration // how far the time of day was moved
	last  string        // the last step
	// failure is why the world and the agent did not agree.
	failure string
}

// repeatFailure says again why the test failed: the log of an agent is long.
func (w *walk) repeatFailure() {
	if w.failure != "" {
		w.t.Logf("after step %s: %s", w.last, w.failure)
	}
}

// step does something. It is logged also when that fails.
func (w *walk) step(number uint64, o operation) {
	w.said, w.await = "", 0
	defer func() {
		w.last = fmt.Sprintf("%d: %s %s", number, o.name, w.said)
		w.t.Logf("step %s", w.last)
	}()
	o.do(w)
}

// restore ends whatever was done to the agent and its pod. Without faults nothing
// of the agent may be left.
func (w *walk) restore() {
	w.setDisk(works)
	w.stepClock(-w.clock)
	if w.a.cmd == nil {
		w.a.start()
	}
	w.endAll()
	w.lab.pod.Shell(w.t, "ip link del net1 2>/dev/null || true") // its own cleanup may have come before
	w.net1 = absent
	if w.t.Failed() {
		return // the rest would fail for the same reason
	}
	w.await = patience
	w.agrees()
	if after := kernelState(w.t, w.lab.pod); after != w.a.before {
		w.t.Errorf("the kernel held before the agent:\n%s\nand without faults:\n%s", w.a.before, after)
	}
}

// patience is how long the agent may take to follow an interface, an end or a disk.
const patience = 15 * time.Second

// agrees wants the status, the kernel and the world to agree: at once after a
// request, else soon.
func (w *walk) agrees() {
	w.t.Helper()
	for _, f := range w.faults {
		if f.mayBeOver(time.Now().Add(early)) {
			w.await = patience
		}
	}
	deadline := time.Now().Add(w.await)
	for {
		err := w.compare()
		if err == nil {
			return
		}
		if late := time.Since(deadline); late > 0 && !errors.Is(err, errChanging) || late > patience {
			w.failure = fmt.Sprintf("%v\nfaults that should be there: %s, stored: %s, net1 is %s, the disk is %s", err, w.faults.names(), w.stored.names(), w.net1, w.disk)
			w.t.Fatal(w.failure)
		}
		netlab.Pause()
	}
}

// errChanging reports that something changed while it was looked at.
var errChanging = errors.New("the status changes")

// compare looks at everything once. What has ended is no longer in the world after.
func (w *walk) compare() error {
	asked := time.Now()
	status := w.a.status()
	found := readKernel(w.t, w.lab.pod)
	if again := w.a.status(); summary(status) != summary(again) {
		return fmt.Errorf("%w from %s to %s", errChanging, summary(status), summary(again))
	}
	there := make(faultSet)
	for _, f := range status.Faults {
		want, wanted := w.faults[f.Name]
		switch {
		case !wanted:
			return fmt.Errorf("there is a fault that nobody asked for: %+v", f)
		case !sameEffect(f.Fault, want.Fault):
			return fmt.Errorf("there is %+v, asked for %+v", f, want.Fault)
		case want.mustBeOver(asked):
			return fmt.Errorf("%s should have ended %s ago", f.Name, asked.Sub(want.end()))
		}
		there[f.Name] = want
	}
	for name, f := range w.faults {
		if _, is := there[name]; !is && !f.mayBeOver(time.Now()) {
			return fmt.Errorf("%s is missing", name)
		}
	}
	if err := errors.Join(w.compareKernel(there, status, found), w.compareWarnings(there, status)); err != nil {
		return fmt.Errorf("%w\nstatus: %s\nkernel: %s", err, summary(status), found)
	}
	w.faults = there
	if !warns(status, aboutState) {
		w.stored = maps.Clone(there)
	}
	return nil
}

// summary is what matters of a status.
func summary(status api.Status) string {
	var words []string
	for _, f := range status.Faults {
		words = append(words, fmt.Sprintf("%s(%s%s%t held %t)", f.Name, f.Direction, f.Delay, f.Partition, f.Held))
	}
	return fmt.Sprintf("%s; warnings %q", strings.Join(words, " "), status.Warnings)
}

// compareKernel compares what is held with what tc or nft shows.
func (w *walk) compareKernel(there faultSet, status api.Status, found inKernel) error {
	want := wantInKernel(there, w.devices())
	if !w.meddled && want.String() != found.String() {
		return fmt.Errorf("the kernel should have %s", want)
	}
	for _, f := range status.Faults {
		if !w.meddled && f.Held != w.held(there[f.Name]) {
			return fmt.Errorf("%s should be held: %t", f.Name, !f.Held)
		}
		for at, what := range wantInKernel(faultSet{f.Name: there[f.Name]}, w.devices()) {
			if f.Held && !slices.Contains(found[at], what[0]) {
				return fmt.Errorf("%s is said to be held, and is not there: %s", f.Name, at)
			}
		}
	}
	return nil
}

// aboutState and aboutLink are what warnings say of a file that could not be written
// and of an interface that is missing.
const aboutState, aboutLink = "the state file could not be written", "interface net1 is missing"

func warns(status api.Status, about string) bool {
	return slices.ContainsFunc(status.Warnings, func(text string) bool { return strings.Contains(text, about) })
}

// compareWarnings wants each thing that differs to be warned of, and nothing else.
func (w *walk) compareWarnings(there faultSet, status api.Status) error {
	expected := []string{aboutState, aboutLink}
	if missing := w.net1 == absent; warns(status, aboutLink) != missing {
		return fmt.Errorf("it is warned of a missing net1: %t", !missing)
	}
	for _, f := range status.Faults {
		name := fmt.Sprintf("fault %q", f.Name)
		if !f.Held && !warns(status, name) {
			return fmt.Errorf("it is not warned of %s", name)
		}
		if !f.Held {
			expected = append(expected, name)
		}
	}
	unsaved := warns(status, aboutState)
	switch {
	case unsaved && w.disk == works:
		return errors.New("the file is not written though the disk works")
	case !unsaved && w.disk == readOnly && !w.stored.is(there.requests()):
		return errors.New("it is not warned of what the file lacks")
	}
	for _, text := range status.Warnings {
		if !w.meddled && !slices.ContainsFunc(expected, func(about string) bool { return strings.Contains(text, about) }) {
			return fmt.Errorf("unexpected warning %q", text)
		}
	}
	return w.a.metric(map[bool]string{true: "tidelay_agent_state_stored 0", false: "tidelay_agent_state_stored 1"}[unsaved])
}

// probe pings the pod by a peer of one fault and wants it to meet what it should.
func (w *walk) probe() {
	w.t.Helper()
	p := w.place(func(p place) bool { return p.device == "" || w.net1 == up })
	from, source, to := w.lab.bystander, w.lab.bystander.IP, w.lab.pod.IP
	if p.device != "" {
		from, to = w.lab.node, net1Pod
	}
	if len(p.peers) > 0 {
		source = p.peers[0]
	}
	if w.meddled {
		return
	}
	netlab.Retry(w.t, "a probe", func() error {
		delay, cut := w.pingTo(p)
		pings := from.PingFrom(w.t, source, to, 3, interval)
		w.agrees()
		if after, afterCut := w.pingTo(p); after != delay || afterCut != cut {
			return nil // a fault has ended meanwhile
		}
		switch {
		case cut && pings.Received > 0:
			return fmt.Errorf("%s passes through a cut", source)
		case !cut && pings.Received < pings.Sent:
			return fmt.Errorf("%s gets %d of %d answers", source, pings.Received, pings.Sent)
		case !cut && (slices.Min(pings.RTT) < delay-time.Millisecond || pings.Median() > delay+machine.Marking/5):
			return fmt.Errorf("pings by %s take %s, want %s", source, pings.RTT, delay)
		}
		return nil
	})
}
