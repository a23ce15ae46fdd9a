//go:build linux

package nfqueue

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"

	"github.com/tidelay/tidelay/pkg/agent/fault"
)

func testPolicy() policy {
	return policy{
		device:  "eth0",
		enqueue: nativeQueue,
		exempt: fault.Exemption{
			ControlPort: 2332,
			NodeAddrs: []netip.Addr{
				netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("::ffff:10.0.0.2"), netip.MustParseAddr("fe80::1%eth0"),
			},
			ProbePorts: []uint16{20180, 10080},
		},
	}
}

func comments(rules []rule) []string {
	var all []string
	for _, r := range rules {
		all = append(all, r.comment)
	}
	return all
}

func TestRules(t *testing.T) {
	latency := fault.Fault{Name: "latency", Delay: 1500 * time.Microsecond}
	last := []string{"hold the copy", "copy, swallow the original", "latency delay=1.5ms"}
	probe := "kubelet probes"
	for name, c := range map[string]struct {
		v6   bool
		want []string
	}{
		"IPv4 has two nodes with two ports each": {
			want: append([]string{"other devices", "control port", "control port", probe, probe, probe, probe}, last...),
		},
		"IPv6 has one node, and neighbour discovery": {
			v6:   true,
			want: append([]string{"other devices", "neighbour discovery", "control port", "control port", probe, probe}, last...),
		},
	} {
		t.Run(name, func(t *testing.T) {
			rules := testPolicy().rules(c.v6, latency)
			if diff := cmp.Diff(c.want, comments(rules)); diff != "" {
				t.Errorf("rules (-want +got)\n%s", diff)
			}
			for _, r := range rules {
				comment, ok := parseComment(formatComment(r.comment))
				if !ok || comment != r.comment {
					t.Errorf("comment %q is read back as %q, %v", r.comment, comment, ok)
				}
			}
		})
	}
}

// Whoever is to pass when no agent reads the queues must have bypass, and only
// the copies must not.
func TestRulesFailOpen(t *testing.T) {
	rules := testPolicy().rules(false, fault.Fault{Name: "latency", Delay: time.Second})
	var queues []expr.Queue
	for _, r := range rules {
		if q, ok := r.exprs[len(r.exprs)-1].(*expr.Queue); ok {
			queues = append(queues, *q)
		}
	}
	want := []expr.Queue{
		{Num: 2332, Total: 1},
		{Num: 2333, Total: 1, Flag: expr.QueueFlagBypass},
		{Num: 2332, Total: 1, Flag: expr.QueueFlagBypass},
	}
	if diff := cmp.Diff(want, queues); diff != "" {
		t.Errorf("queues (-want +got)\n%s", diff)
	}
}

func TestEqualRules(t *testing.T) {
	latency := fault.Fault{Name: "latency", Delay: time.Second}
	asked := func() []rule { return testPolicy().rules(false, latency) }
	otherExemption := testPolicy()
	otherExemption.exempt.ProbePorts = []uint16{20180, 4000}
	for name, c := range map[string]struct {
		held []rule
		want bool
	}{
		"the same": {asked(), true},
		"the same as it is read back": {func() []rule {
			rules := asked()
			for i, r := range rules {
				rules[i].exprs = slices.DeleteFunc(r.exprs, func(e expr.Any) bool { _, dup := e.(*expr.Dup); return dup })
				for j, e := range rules[i].exprs {
					if _, ok := e.(*expr.Counter); ok {
						rules[i].exprs[j] = &expr.Counter{Packets: 7, Bytes: 700}
					}
				}
			}
			return rules
		}(), true},
		"another delay":     {testPolicy().rules(false, fault.Fault{Name: "latency", Delay: time.Minute}), false},
		"another exemption": {otherExemption.rules(false, latency), false},
		"another family":    {testPolicy().rules(true, latency), false},
		"a rule less":       {asked()[1:], false},
		"another order": {func() []rule {
			rules := asked()
			slices.Reverse(rules)
			return rules
		}(), false},
		"nothing": {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := equalRules(c.held, asked()); got != c.want {
				t.Errorf("equal is %v", got)
			}
		})
	}
}

func TestParseComment(t *testing.T) {
	for name, c := range map[string]struct {
		data   []byte
		want   string
		wantOK bool
	}{
		"ours":              {[]byte("\x00\x0btidelay hi\x00"), "hi", true},
		"somebody else's":   {[]byte("\x00\x0bkubernetes\x00"), "kubernetes", false},
		"none":              {nil, "", false},
		"cut off":           {[]byte("\x00\x20tidelay hi\x00"), "", false},
		"not a comment":     {[]byte("\x01\x0btidelay hi\x00"), "", false},
		"more than comment": {[]byte("\x00\x0btidelay hi\x00\x01\x01\x01"), "", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got, ok := parseComment(c.data); ok != c.wantOK || ok && got != c.want {
				t.Errorf("got %q, %v", got, ok)
			}
		})
	}
}

func TestParseFault(t *testing.T) {
	for _, f := range []fault.Fault{
		{Name: "latency", Delay: time.Microsecond},
		{Name: "latency", Delay: 20 * time.Millisecond},
		{Name: "far away", Delay: 10 * time.Minute},
	} {
		if got, err := parseFault(formatFault(f)); err != nil || got != f {
			t.Errorf("%v is read back as %v, %v", f, got, err)
		}
	}
	for _, comment := range []string{"", "latency", "latency delay=", "latency delay=soon", "hold the copy"} {
		if f, err := parseFault(comment); err == nil {
			t.Errorf("%q is read as %v", comment, f)
		}
	}
}

func TestKeepable(t *testing.T) {
	for name, want := range map[string]bool{
		"latency":               true,
		strings.Repeat("x", 64): true,
		strings.Repeat("x", 65): false,
		"slow delay=5ms":        false,
	} {
		if err := keepable(fault.Fault{Name: name, Delay: time.Second}); (err == nil) != want {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// struct xt_NFQ_info_v3 { u16 queuenum, queues_total, flags; }, aligned to 8.
func TestCompatQueue(t *testing.T) {
	for bypass, want := range map[bool][]uint16{true: {2333, 1, 1, 0}, false: {2333, 1, 0, 0}} {
		target, ok := compatQueue(2333, bypass)[0].(*expr.Target)
		if !ok || target.Name != "NFQUEUE" || target.Rev != 3 {
			t.Fatalf("target %+v", target)
		}
		info, ok := target.Info.(*xt.Unknown)
		if !ok {
			t.Fatalf("info %T", target.Info)
		}
		var got []uint16
		for pair := range slices.Chunk(*info, 2) {
			got = append(got, binary.NativeEndian.Uint16(pair))
		}
		if !slices.Equal(got, want) {
			t.Errorf("info %v, want %v", got, want)
		}
	}
}
