package netem

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// TestPlans runs the files in testdata/plan: requests in, tc commands out. To
// rewrite what comes out, run
//
//	go test ./pkg/agent/netem -run TestPlans -rewrite
//
// and read the difference. The input of apply, commands and state is faults as
// in the HTTP API, one JSON object in each line. The directives are:
//
//	kernel [lacks-ingress] [refuses-duplicate-beside]
//	    Start with a new kernel and a new agent, as each file does.
//	apply [full] [fail=N] [kill=N] [may-be-clean]
//	    Apply the faults and print the commands for what was done. Exemptions
//	    are summed up, except with full. With fail, the kernel refuses change
//	    N. With kill, the agent is killed before change N and another one
//	    starts. Before each change, every packet must meet its old or its new
//	    fault, and no change may drop packets; with may-be-clean, packets may
//	    also meet no fault, and be dropped.
//	restart
//	    Start another agent, which knows nothing.
//	foreign WHERE
//	    Somebody else adds what the input names, or removes it if there is no
//	    input. WHERE is root, inside, ifb, inside-ifb, ingress or
//	    inside-ingress.
//	delete-ifb
//	    Somebody else deletes our ifb.
//	adopt
//	    Print the faults that an agent without state file takes over.
//	state
//	    Print which of the faults were found, and the drift.
//	tree
//	    Print the trees that are there.
//	commands [DEVICE...]
//	    Print the commands that a dry run prints, for eth0 or other devices.
func TestPlans(t *testing.T) {
	files, err := filepath.Glob("testdata/plan/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			p := &planTest{}
			p.newKernel(t, nil)
			datadriven.RunTest(t, file, func(t *testing.T, d *datadriven.TestData) string {
				p.k.t = t
				return strings.TrimRight(p.run(t, d), "\n")
			})
		})
	}
}

// planTest is a kernel with an agent.
type planTest struct {
	k     *fakeKernel
	e     *Engine
	lacks map[fault.Feature]string
}

func (p *planTest) run(t *testing.T, d *datadriven.TestData) string {
	switch d.Cmd {
	case "kernel":
		p.newKernel(t, d)
	case "apply":
		return p.apply(t, d)
	case "restart":
		p.restart()
	case "foreign":
		p.foreign(t, d)
	case "mtu":
		_, err := fmt.Sscan(d.CmdArgs[0].Key, &p.k.trees[egress].mtu)
		p.k.trees[ingress].mtu = p.k.trees[egress].mtu
		return errorLine(err)
	case "delete-ifb":
		if err := p.k.do(deleteLink{p.k.trees[ingress].link}); err != nil {
			d.Fatalf(t, "%v", err)
		}
	case "adopt":
		faults, err := p.e.Adopt()
		return describe(faults) + errorLine(err)
	case "state":
		return p.state(t, d)
	case "tree":
		return p.tree()
	case "commands":
		return p.commands(t, d)
	default:
		d.Fatalf(t, "unknown directive %s", d.Cmd)
	}
	return ""
}

func (p *planTest) newKernel(t *testing.T, d *datadriven.TestData) {
	p.k, p.lacks = newFake(t), nil
	if d != nil {
		p.lacks = make(map[fault.Feature]string)
		if d.HasArg("lacks-ingress") {
			p.lacks[fault.FeatureIngress] = "lacking"
		}
		if d.HasArg("refuses-duplicate-beside") {
			p.lacks[fault.FeatureDuplicateBeside], p.k.refusesDuplicateBeside = "lacking", true
		}
	}
	p.restart()
}

// restart starts another agent. It knows of no node, so that there are fewer
// exemptions.
func (p *planTest) restart() {
	p.e = p.k.engine(p.lacks)
	p.e.scope.Exempt.NodeAddrs, p.e.scope.Exempt.ProbePorts = nil, nil
}

func (p *planTest) apply(t *testing.T, d *datadriven.TestData) string {
	faults := parseFaults(t, d)
	var out commandLines
	out.full = d.HasArg("full")
	fail, kill, n := 0, 0, 0
	d.MaybeScanArgs(t, "fail", &fail)
	d.MaybeScanArgs(t, "kill", &kill)

	before, after := p.k.verdicts(), expected(p.e, faults)
	c := change{before: before, after: after, mayBeClean: d.HasArg("may-be-clean"), what: d.Pos}
	check := p.k.watch(c)
	p.k.onReset = func(o op) {
		if !c.mayBeClean {
			t.Errorf("%s: %s drops packets", d.Pos, o)
		}
	}
	p.k.beforeChange = func(o op) error {
		n++
		switch {
		case n == fail:
			out.note("the kernel refuses: " + o.String())
			return errInjected
		case n == kill:
			out.note("killed before: " + o.String())
			return errInjected
		case kill > 0 && n > kill:
			return errInjected
		}
		if fail == 0 || n < fail {
			check(o.String())
		}
		out.add(o)
		return nil
	}
	defer func() { p.k.beforeChange, p.k.onReset = nil, nil }()

	err := p.e.Apply(faults)
	switch {
	case kill > 0:
		if n < kill {
			t.Errorf("%s: only %d changes", d.Pos, n)
		}
		p.restart()
		return out.String()
	case fail > 0 && errors.Is(err, errInjected) && !strings.Contains(err.Error(), "roll back"):
		p.k.is(before, d.Pos+": after the failure")
		return out.String()
	case fail > 0:
		t.Errorf("%s: after %d changes: %v", d.Pos, n, err)
	case err == nil:
		p.k.is(after, d.Pos)
	}
	return out.String() + errorLine(err)
}

func (p *planTest) foreign(t *testing.T, d *datadriven.TestData) {
	target := map[string]*string{
		"root": &p.k.trees[egress].occupiedBy, "inside": &p.k.trees[egress].foreignInside,
		"ifb": &p.k.trees[ingress].occupiedBy, "inside-ifb": &p.k.trees[ingress].foreignInside,
		"ingress": &p.k.hook.occupiedBy, "inside-ingress": &p.k.hook.foreignInside,
	}[d.CmdArgs[0].Key]
	if target == nil {
		d.Fatalf(t, "unknown WHERE %s", d.CmdArgs[0].Key)
	}
	*target = strings.TrimSpace(d.Input)
}

func (p *planTest) state(t *testing.T, d *datadriven.TestData) string {
	faults := parseFaults(t, d)
	state, err := p.e.State(faults)
	var found []fault.Fault
	for _, f := range faults {
		if _, ok := state.Found[f.Name]; ok {
			found = append(found, f)
		}
	}
	out := describe(found)
	for _, drift := range state.Drift {
		out += "drift: " + drift + "\n"
	}
	return out + errorLine(err)
}

// commands prints what a dry run prints. For eth0 alone it also checks that an
// agent on a new kernel does the same.
func (p *planTest) commands(t *testing.T, d *datadriven.TestData) string {
	faults, devices := parseFaults(t, d), []string{}
	for _, arg := range d.CmdArgs {
		devices = append(devices, arg.Key)
	}
	if len(devices) > 0 {
		return strings.Join(Commands(devices, p.e.scope.Exempt, p.e.queueMemory, faults), "\n")
	}
	commands := Commands([]string{device}, p.e.scope.Exempt, p.e.queueMemory, faults)
	other := &planTest{}
	other.newKernel(t, nil)
	if err := other.e.Apply(faults); err != nil {
		d.Fatalf(t, "%v", err)
	}
	var done []string
	for _, o := range other.k.ops {
		variable := setSegmenter{burst: burstOfVariable}.burstWord()
		done = append(done, strings.NewReplacer(other.k.trees[ingress].link, "$ifb", "burst 1536", "burst "+variable).Replace(o.String()))
	}
	if got := strings.Join(withoutPrefix(withoutPrefix(commands, "ifb="), "mtu="), "\n"); got != strings.Join(done, "\n") {
		t.Errorf("%s: an agent does\n%s\nthe commands do\n%s", d.Pos, strings.Join(done, "\n"), got)
	}
	return strings.Join(commands, "\n")
}

func withoutPrefix(lines []string, prefix string) []string {
	var rest []string
	for _, line := range lines {
		if !strings.HasPrefix(line, prefix) {
			rest = append(rest, line)
		}
	}
	return rest
}

// parseFaults reads the input of a directive.
func parseFaults(t *testing.T, d *datadriven.TestData) []fault.Fault {
	var wire []api.Fault
	for line := range strings.Lines(d.Input) {
		var f api.Fault
		if err := fault.Decode([]byte(line), &f); err != nil {
			d.Fatalf(t, "%v", err)
		}
		wire = append(wire, f)
	}
	faults, err := fault.ParseSet(wire, fault.Limits{Now: fault.Moment{Wall: time.Unix(0, 0)}, Devices: []string{device, "eth1"}})
	if err != nil {
		d.Fatalf(t, "%v", err)
	}
	return faults
}
