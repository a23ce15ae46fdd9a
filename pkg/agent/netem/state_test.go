package netem

import (
	"errors"
	"strings"
	"testing"

	"github.com/tidelay/tidelay/pkg/fault"
)

func TestAdopt(t *testing.T) {
	latency := everything(fault.Latency, fault.Egress, 20*ms)
	jittery := latency
	jittery.Impairment.Jitter, jittery.Impairment.Distribution = ms, fault.Uniform
	for name, c := range map[string]struct {
		faults []fault.Fault
		want   int
		err    error
	}{
		"nothing":            {nil, 0, nil},
		"a constant delay":   {[]fault.Fault{latency}, 1, nil},
		"ingress":            {[]fault.Fault{everything("x", fault.Ingress, ms)}, 0, fault.ErrLeftover},
		"both":               {[]fault.Fault{everything("x", fault.Both, ms)}, 0, fault.ErrLeftover},
		"jitter":             {[]fault.Fault{jittery}, 0, fault.ErrLeftover},
		"a match":            {[]fault.Fault{matched("x", fault.Match{Direction: fault.Egress, Peers: prefixes("0.0.0.0/0")}, ms)}, 0, fault.ErrLeftover},
		"several":            {several(2), 0, fault.ErrLeftover},
		"one beside latency": {append(several(1), latency), 0, fault.ErrLeftover},
	} {
		k := newFake(t)
		if err := k.engine(nil).Apply(c.faults); err != nil {
			t.Fatal(err)
		}
		k.ops = nil
		got, err := k.engine(nil).Adopt()
		if !errors.Is(err, c.err) || len(got) != c.want || len(k.ops) > 0 {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		if c.want == 1 && !got[0].SameEffect(c.faults[0]) {
			t.Errorf("%s: %v, want %v", name, got[0], c.faults[0])
		}
	}
}

func TestStateReportsDrift(t *testing.T) {
	faults := []fault.Fault{everything("all", fault.Both, ms), matched("peer", fault.Match{Direction: fault.Egress, Peers: prefixes("10.0.0.9/32")}, 2*ms)}
	for name, c := range map[string]struct {
		meddle func(k *fakeKernel)
		found  string
		drift  string // empty for none
	}{
		"nothing": {func(*fakeKernel) {}, "all peer", ""},
		"a filter of one fault is gone": {func(k *fakeKernel) {
			list := &k.trees[egress].blocks[ipv6][0].filters
			*list = (*list)[:len(*list)-1]
		}, "peer", `eth0 egress: fault "all": other packets`},
		"an exemption is gone": {func(k *fakeKernel) {
			list := &k.trees[egress].blocks[ipv4][0].filters
			*list = (*list)[1:]
		}, "all peer", "eth0 egress: 4 filters for ip, not the 5 asked for"},
		"another delay": {func(k *fakeKernel) {
			e := k.trees[ingress].netems[bandFirst]
			e.setting.delay = 7 * ms
			k.trees[ingress].netems[bandFirst] = e
		}, "peer", "the kernel holds netem limit 1000 delay 7ms"},
		"no redirect":  {func(k *fakeKernel) { k.hook.redirects[ipv6] = false }, "peer", "not all that arrives is redirected"},
		"ifb is down":  {func(k *fakeKernel) { k.trees[ingress].ifbIsUp = false }, "peer", "not all that arrives is redirected"},
		"no tree":      {func(k *fakeKernel) { k.trees[egress] = newFake(k.t).trees[egress] }, "", `eth0 egress: fault "peer": there is no tree`},
		"a netem more": {func(k *fakeKernel) { k.trees[egress].netems[9] = netemQdisc{handle: netemHandle(9)} }, "all peer", "netem 7e09: that no fault asks for"},
		"the root":     {func(k *fakeKernel) { k.trees[egress].rootIsCurrent = false }, "all peer", "not as it was made"},
	} {
		k := newFake(t)
		e := k.engine(nil)
		if err := e.Apply(faults); err != nil {
			t.Fatal(err)
		}
		c.meddle(k)
		k.ops = nil
		state, err := e.State(faults)
		var found []string
		for _, f := range faults {
			if _, ok := state.Found[f.Name]; ok {
				found = append(found, f.Name)
			}
		}
		drift := strings.Join(state.Drift, "\n")
		if err != nil || strings.Join(found, " ") != c.found || (drift == "") != (c.drift == "") || !strings.Contains(drift, c.drift) || len(k.ops) > 0 {
			t.Errorf("%s: found %v, want %q; drift:\n%s\nwant %q; %v", name, found, c.found, drift, c.drift, err)
		}
		if err := e.Apply(faults); err != nil {
			t.Errorf("%s: mending: %v", name, err)
		} else if state, err = e.State(faults); err != nil || len(state.Drift) > 0 || len(state.Found) != 2 || len(state.Found["all"]) != 2 {
			t.Errorf("%s: after mending: %+v, %v", name, state, err)
		}
	}
	k := newFake(t)
	if err := k.engine(nil).Apply(faults); err != nil {
		t.Fatal(err)
	}
	if state, err := k.engine(nil).State(nil); err != nil || len(state.Drift) != 2 {
		t.Errorf("faults that nobody asks for: %+v, %v", state, err)
	}
}
