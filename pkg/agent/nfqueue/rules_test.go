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

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

func testPolicy(devices ...string) policy {
	return policy{
		devices:        devices,
		queueStatement: nativeQueue,
		exempt: fault.Exemption{
			ControlPort: 2332,
			NodeAddrs: []netip.Addr{
				netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("::ffff:10.0.0.2"), netip.MustParseAddr("fe80::1%eth0"),
			},
			ProbePorts: []uint16{20180, 10080},
		},
	}
}

// parsed reads faults as a user writes them.
func parsed(t *testing.T, wire ...api.Fault) []fault.Fault {
	t.Helper()
	faults, err := fault.ParseSet(wire, fault.Limits{Now: fault.Moment{Wall: time.Now()}, Devices: []string{"eth0", "eth1"}})
	if err != nil {
		t.Fatal(err)
	}
	return faults
}

func comments(rules []rule) []string {
	var all []string
	for _, r := range rules {
		all = append(all, r.comment)
	}
	return all
}

func TestBaseRules(t *testing.T) {
	faults := parsed(t,
		api.Fault{Name: "host", Peers: []string{"10.1.0.5", "fd00::5"}, Delay: "1ms"},
		api.Fault{Name: "latency", Delay: "2ms"},
		api.Fault{Name: "net", Direction: "both", Peers: []string{"10.1.0.0/16"}, Delay: "3ms"},
	)
	target := layout{faults: faults, slots: make(slots).assign(faults)}
	const probe = "kubelet probes"
	for name, c := range map[string]struct {
		direction fault.Direction
		v6        bool
		want      []string
	}{
		"IPv4 egress has two nodes with two ports each, and the most precise fault first": {
			fault.Egress, false,
			[]string{"other devices", "control port", "control port", probe, probe, probe, probe, "fault host", "fault net", "fault latency"},
		},
		"IPv6 egress has one node, and neighbour discovery": {
			fault.Egress, true,
			[]string{"other devices", "neighbour discovery", "control port", "control port", probe, probe, "fault host", "fault latency"},
		},
		"IPv4 ingress has what is for it": {
			fault.Ingress, false,
			[]string{"other devices", "control port", "control port", probe, probe, probe, probe, "fault net"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			rules := testPolicy("eth0").baseRules(c.direction, c.v6, target)
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

// With several devices, each rule is for one of them. A fault of one device has no
// rule for the other.
func TestDevices(t *testing.T) {
	faults := parsed(t, api.Fault{Name: "all", Delay: "1ms"}, api.Fault{Name: "one", Device: "eth1", Protocol: "tcp", Delay: "2ms"})
	got := comments(testPolicy("eth0", "eth1").baseRules(fault.Egress, false, layout{faults: faults, slots: make(slots).assign(faults)}))
	want := []string{"fault all", "fault one", "fault all"}
	if len(got) < 3 || !slices.Equal(got[len(got)-3:], want) {
		t.Errorf("rules %v, want them to end with %v", got, want)
	}
}

// The expressions of a term load the right bytes of a packet.
func TestTermsLookAtTheRightBytes(t *testing.T) {
	f := parsed(t, api.Fault{
		Name: "f", Direction: "both", Peers: []string{"10.1.0.0/16"}, Protocol: "tcp", Delay: "1ms",
		Ports: &api.Ports{Local: []api.PortRange{{First: 4000, Last: 4000}}, Remote: []api.PortRange{{First: 20160, Last: 20180}}},
	})
	for direction, want := range map[fault.Direction][]uint32{
		fault.Egress:  {16, 2, 0}, // destination address, destination port, source port
		fault.Ingress: {12, 0, 2}, // the other way round
	} {
		var offsets []uint32
		for _, e := range matchTerm(direction, fault.Rules(f, direction, "eth0")[0].Term) {
			if load, ok := e.(*expr.Payload); ok {
				offsets = append(offsets, load.Offset)
			}
		}
		if !slices.Equal(offsets, want) {
			t.Errorf("%s reads offsets %v, want %v", direction, offsets, want)
		}
	}
	v6 := parsed(t, api.Fault{Name: "f", Peers: []string{"fd00::/64"}, Delay: "1ms"})
	mask := matchTerm(fault.Egress, fault.Rules(v6, fault.Egress, "eth0")[0].Term)[1].(*expr.Bitwise).Mask
	if want := append(slices.Repeat([]byte{0xff}, 8), make([]byte, 8)...); !slices.Equal(mask, want) {
		t.Errorf("mask of fd00::/64: %x", mask)
	}
}

// Without an agent every packet must pass, so its rule needs bypass. Only the
// copies must be dropped then.
func TestRulesFailOpen(t *testing.T) {
	delay := parsed(t, api.Fault{Name: "f", Direction: "both", Delay: "1s"})[0]
	cut := parsed(t, api.Fault{Name: "f", Direction: "both", Partition: true})[0]
	egress, ingress := slot{fault.Egress, 3}, slot{fault.Ingress, 3}
	queue := func(number uint16, bypass bool) expr.Queue {
		q := expr.Queue{Num: number, Total: 1}
		if bypass {
			q.Flag = expr.QueueFlagBypass
		}
		return q
	}
	for name, c := range map[string]struct {
		at   slot
		f    fault.Fault
		want []expr.Queue
	}{
		"egress": {egress, delay, []expr.Queue{
			queue(2343, false), queue(2343, false), queue(2335, false), // copies
			queue(2343, true),                    // a mark of its own
			queue(2333, true), queue(2333, true), // originals
			queue(2343, true),
		}},
		"ingress":           {ingress, delay, []expr.Queue{queue(2363, true)}},
		"egress partition":  {egress, cut, []expr.Queue{queue(2333, true)}},
		"ingress partition": {ingress, cut, []expr.Queue{queue(2333, true)}},
	} {
		var got []expr.Queue
		for _, r := range testPolicy("eth0").faultRules(c.at, false, c.f, true) {
			if q, ok := r.exprs[len(r.exprs)-1].(*expr.Queue); ok {
				got = append(got, *q)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
}

func TestCompatQueue(t *testing.T) {
	target, ok := compatQueue(0x0102, true)[0].(*expr.Target)
	if !ok || target.Name != "NFQUEUE" || target.Rev != 3 {
		t.Fatalf("target %+v", target)
	}
	info := []byte(*target.Info.(*xt.Unknown))
	want := binary.NativeEndian.AppendUint16(nil, 0x0102)
	want = binary.NativeEndian.AppendUint16(want, 1)
	want = append(binary.NativeEndian.AppendUint16(want, 1), 0, 0)
	if !slices.Equal(info, want) {
		t.Errorf("info %v, want %v", info, want)
	}
}

// The comment of a plain delay says everything about it. The comment of any
// other fault shows whether it is the same fault.
func TestComments(t *testing.T) {
	plain := parsed(t, api.Fault{Name: "latency", Delay: "1.5ms"})[0]
	if name, f, ok := parseFault(formatFault(plain)); !ok || name != "latency" || f == nil || !f.SameEffect(plain) {
		t.Errorf("%q is read back as %q %+v %t", formatFault(plain), name, f, ok)
	}
	seen := make(map[string]bool)
	for _, w := range []api.Fault{
		{Name: "latency", Delay: "1ms", Direction: "both"},
		{Name: "latency", Delay: "1ms", Peers: []string{"10.0.0.1"}},
		{Name: "latency", Delay: "2ms", Peers: []string{"10.0.0.1"}},
		{Name: strings.Repeat("a", 63), Loss: &api.Loss{Percent: 1}},
	} {
		f := parsed(t, w)[0]
		comment := formatFault(f)
		if name, latency, ok := parseFault(comment); !ok || name != w.Name || latency != nil || seen[comment] || len(owner+comment) > 127 {
			t.Errorf("%q is read back as %q %+v %t", comment, name, latency, ok)
		}
		seen[comment] = true
		f.ExpiresAt = time.Now()
		if formatFault(f) != comment {
			t.Errorf("%q depends on how long the fault lasts", comment)
		}
	}
	for _, bad := range []string{"", "latency", "latency delay=", "latency delay=-1ms", "other delay=1ms", "latency delay=1ms loss 5%"} {
		if _, _, ok := parseFault(bad); ok {
			t.Errorf("%q is read as a fault", bad)
		}
	}
}

func TestOnlyOurCommentsAreOurs(t *testing.T) {
	for _, data := range [][]byte{nil, {0}, {0, 1, 0}, {1, 9, 't'}, append([]byte{0, 7}, "theirs\x00"...), append([]byte{0, 99}, "tidelay x\x00"...)} {
		if comment, ok := parseComment(data); ok {
			t.Errorf("%q is read as %q", data, comment)
		}
	}
}
