package compile

import (
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// ranges are outside the cluster but for the third, which has a pod's IPv4 address.
var ranges = []netip.Prefix{
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.0.2.128/25"), netip.MustParsePrefix("10.0.0.5/32"), netip.MustParsePrefix("fd00::/64"),
}

var outside = []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.200"), netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("fd00::99")}

func drawPods(t *rapid.T) []Pod {
	var pods []Pod
	for i := range rapid.SampledFrom([]int{1, 2, 2, 3, 3, 4, 5}).Draw(t, "pods") {
		pod := Pod{Name: fmt.Sprintf("pod-%d", i), Agent: rapid.SampledFrom([]bool{true, true, true, false}).Draw(t, "agent")}
		if rapid.SampledFrom([]bool{true, true, true, false}).Draw(t, "IPv4") {
			pod.Addrs = append(pod.Addrs, netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}))
		}
		if rapid.Bool().Draw(t, "IPv6") {
			pod.Addrs = append(pod.Addrs, netip.MustParseAddr(fmt.Sprintf("fd01::%d", i+1)))
		}
		pods = append(pods, pod)
	}
	return pods
}

func drawObjects(t *rapid.T) []Object {
	names := rapid.SliceOfDistinct(rapid.SampledFrom([]int{0, 1, 2, 3, 4, 5}), rapid.ID)
	side := func(label string) []string {
		var all []string
		for _, i := range names.Draw(t, label) {
			all = append(all, fmt.Sprintf("pod-%d", i))
		}
		return all
	}
	var objects []Object
	for i := range rapid.SampledFrom([]int{0, 1, 2, 2, 3, 3, 4, 4}).Draw(t, "objects") {
		o := Object{
			Name: fmt.Sprintf("object-%d", i), Created: time.Unix(int64(rapid.IntRange(0, 3).Draw(t, "age")), 0),
			From: side("from"), To: side("to"), OneWay: rapid.Bool().Draw(t, "one way"),
			CIDRs: rapid.SliceOfDistinct(rapid.SampledFrom(ranges), rapid.ID).Draw(t, "ranges"),
		}
		if rapid.Bool().Draw(t, "classes") {
			o.Protocol = rapid.SampledFrom([]string{"", "tcp", "udp", "icmp"}).Draw(t, "protocol")
			if o.Protocol != "icmp" {
				for range rapid.SampledFrom([]int{0, 1, 1, 2, 3}).Draw(t, "ports") {
					first := rapid.SampledFrom([]uint16{1, 2, 3, 4, 5, 6}).Draw(t, "first")
					o.Ports = append(o.Ports, api.PortRange{First: first, Last: first + rapid.SampledFrom([]uint16{0, 0, 1, 3}).Draw(t, "more")})
				}
			}
		}
		switch rapid.SampledFrom([]int{0, 1, 1, 2, 3, 3, 3}).Draw(t, "impairment") {
		case 0:
			o.Impairment.Partition = true
		case 1:
			o.Impairment.Loss = &fault.Chance{Percent: rapid.SampledFrom([]fault.Percent{1, 10_000, 333_333, 500_000, 999_999, fault.Hundred}).Draw(t, "loss")}
		case 2:
			o.Impairment.Rate = &fault.Rate{BitsPerSecond: 1_000_000}
		default:
			o.Impairment.Delay = time.Duration(rapid.IntRange(1, 50).Draw(t, "delay")) * time.Microsecond
			if o.RoundTrip = !o.OneWay && rapid.Bool().Draw(t, "round trip"); rapid.Bool().Draw(t, "jitters") {
				o.Impairment.Jitter, o.Impairment.Distribution = (o.Impairment.Delay / 2).Truncate(time.Microsecond), fault.Normal
				if o.Impairment.Jitter == 0 {
					o.Impairment.Distribution = ""
				}
			}
		}
		objects = append(objects, o)
	}
	if rapid.Bool().Draw(t, "a topology") {
		i := rapid.IntRange(0, len(objects)).Draw(t, "the topology's place")
		objects = slices.Insert(objects, i, drawTopology(t))
	}
	return objects
}

// packet is one between two pods, or a pod and the outside.
type packet struct {
	source, target           netip.Addr
	protocol                 string
	sourcePort, targetPort   uint16
	sender, receiver         string // pods; empty for outside
	senderAgent, targetAgent bool
}

func drawPacket(t *rapid.T, pods []Pod) (packet, bool) {
	ports := rapid.SampledFrom([]uint16{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11})
	p := packet{protocol: rapid.SampledFrom([]string{"tcp", "udp", "icmp", "other"}).Draw(t, "packet's protocol")}
	if p.protocol == "tcp" || p.protocol == "udp" {
		p.sourcePort, p.targetPort = ports.Draw(t, "source port"), ports.Draw(t, "target port")
	}
	end := func(label string) (netip.Addr, string, bool) {
		if i := rapid.IntRange(-1, len(pods)-1).Draw(t, label); i >= 0 && len(pods[i].Addrs) > 0 {
			return rapid.SampledFrom(pods[i].Addrs).Draw(t, label+"'s address"), pods[i].Name, pods[i].Agent
		}
		return rapid.SampledFrom(outside).Draw(t, label+"'s address"), "", false
	}
	p.source, p.sender, p.senderAgent = end("sender")
	p.target, p.receiver, p.targetAgent = end("receiver")
	return p, p.sender != p.receiver && p.source.Is4() == p.target.Is4()
}

// happens is what objects say of a packet, naively, without any class or fault.
type happens struct {
	delay, jitter time.Duration
	passes        float64
	rate          bool
	cut           bool
}

func (h *happens) add(i fault.Impairment) {
	h.delay, h.jitter = h.delay+i.Delay, h.jitter+i.Jitter
	if i.Loss != nil {
		h.passes *= 1 - float64(i.Loss.Percent)/float64(fault.Hundred)
	}
	h.rate, h.cut = h.rate || i.Rate != nil, h.cut || i.Partition
}

// means reports whether an object means a packet that some agent has.
func (o Object) means(p packet) bool {
	port := func(port uint16) bool {
		return len(o.Ports) == 0 || slices.ContainsFunc(o.Ports, func(r api.PortRange) bool { return r.First <= port && port <= r.Last })
	}
	// between reports whether the object is from one end to the other.
	between := func(from, to string, toAddr netip.Addr) bool {
		return slices.Contains(o.From, from) && (to != "" && slices.Contains(o.To, to) || slices.ContainsFunc(o.CIDRs, func(r netip.Prefix) bool { return r.Contains(toAddr) }))
	}
	if o.Topology != nil {
		return p.sender != "" && p.receiver != ""
	}
	forth := between(p.sender, p.receiver, p.target) && port(p.targetPort)
	back := between(p.receiver, p.sender, p.source) && port(p.sourcePort) && !o.OneWay
	return (forth || back) && (o.Protocol == "" || o.Protocol == p.protocol)
}

// of is what happens to a packet that an object means.
func (o Object) of(p packet) fault.Impairment {
	i, halves, isFirst := o.Impairment, o.RoundTrip, p.sender != "" && (p.receiver == "" || p.sender < p.receiver)
	if o.Topology != nil {
		from, known := o.Topology.Zones[p.sender]
		to, alsoKnown := o.Topology.Zones[p.receiver]
		if !known || !alsoKnown {
			return fault.Impairment{}
		}
		i, halves = o.Topology.Links[Way{from, to}], true
		if from != to {
			isFirst = from < to
		}
	}
	if halves {
		microseconds := func(of time.Duration) time.Duration {
			if isFirst {
				of += time.Microsecond
			}
			return of.Truncate(2*time.Microsecond) / 2
		}
		i.Delay, i.Jitter = microseconds(i.Delay), microseconds(i.Jitter)
	}
	return i
}

func asked(objects []Object, p packet) happens {
	h := happens{passes: 1}
	for _, o := range objects {
		if o.means(p) {
			h.add(o.of(p))
		}
	}
	return h
}

// compiled is what the agents do to a packet.
func compiled(plan Plan, p packet) happens {
	h := happens{passes: 1}
	meet := func(pod string, direction fault.Direction, peer netip.Addr, remote, local uint16) {
		var faults []fault.Fault
		for _, f := range plan.Faults[pod] {
			faults = append(faults, f.Fault)
		}
		if f := fault.FaultFor(faults, direction, "eth0", fault.Packet{Peer: peer, Protocol: p.protocol, Remote: remote, Local: local}); f != nil {
			h.add(f.Impairment)
		}
	}
	if p.senderAgent {
		meet(p.sender, fault.Egress, p.target, p.targetPort, p.sourcePort)
	}
	if p.targetAgent {
		meet(p.receiver, fault.Ingress, p.source, p.sourcePort, p.targetPort)
	}
	return h
}

// inForce are the objects that a plan does not refuse.
func inForce(objects []Object, plan Plan) []Object {
	return slices.DeleteFunc(slices.Clone(objects), func(o Object) bool {
		return slices.ContainsFunc(plan.Refused, func(r Refusal) bool { return r.Object == o.Name })
	})
}

// checkPackets checks that packets meet the sum of what objects say.
func checkPackets(t *rapid.T, pods []Pod, plan Plan, objects []Object) {
	for range 20 {
		p, possible := drawPacket(t, pods)
		if !possible || !p.senderAgent && !p.targetAgent {
			continue
		}
		want, got := asked(objects, p), compiled(plan, p)
		if want.cut != got.cut {
			t.Fatalf("%+v is cut: %t, asked for %t", p, got.cut, want.cut)
		}
		if !want.cut && (want.delay != got.delay || want.jitter != got.jitter || want.rate != got.rate || math.Abs(want.passes-got.passes) > 5e-6) {
			t.Fatalf("%+v meets %+v, asked for %+v", p, got, want)
		}
	}
}

// What the compiled faults do to a packet is the sum of what the objects say of it.
func TestSumOfTheObjects(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pods, objects := drawPods(t), drawObjects(t)
		plan := Compile(objects, pods)
		checkPackets(t, pods, plan, inForce(objects, plan))
		for pod, faults := range plan.Faults {
			var all []api.Fault
			for _, f := range faults {
				all = append(all, f.Wire())
			}
			if _, err := fault.ParseSet(all, fault.Limits{}); err != nil {
				t.Fatalf("the agent of %s refuses %+v: %v", pod, all, err)
			}
			if len(faults) > MaxFaults {
				t.Fatalf("%s has %d faults", pod, len(faults))
			}
		}
	})
}

// The order of objects, of pods and of their sides changes nothing.
func TestOrderMeansNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pods, objects := drawPods(t), drawObjects(t)
		before := Compile(objects, pods)
		shuffledObjects := slices.Clone(rapid.Permutation(objects).Draw(t, "objects in another order"))
		for i := range shuffledObjects {
			slices.Reverse(shuffledObjects[i].From)
			slices.Reverse(shuffledObjects[i].CIDRs)
		}
		after := Compile(shuffledObjects, rapid.Permutation(pods).Draw(t, "pods in another order"))
		if !reflect.DeepEqual(before.Faults, after.Faults) || !reflect.DeepEqual(before.Refused, after.Refused) {
			t.Fatalf("%+v\nand in another order\n%+v", before, after)
		}
	})
}

// An object that is refused is the newer of two, and without it the older one is as it
// was. The end of an object changes nothing of what others do.
func TestTheOlderGoesOn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pods, objects := drawPods(t), drawObjects(t)
		plan := Compile(objects, pods)
		var rest []Object
		for _, o := range objects {
			i := slices.IndexFunc(plan.Refused, func(r Refusal) bool { return r.Object == o.Name })
			if i < 0 {
				rest = append(rest, o)
				continue
			}
			r := plan.Refused[i]
			if r.Problem == "" || strings.Contains(r.Problem, o.Name) {
				t.Fatalf("%+v", r)
			}
			if other := slices.IndexFunc(objects, func(o Object) bool { return o.Name == r.With }); r.With != "" && (other < 0 || objects[other].Created.After(o.Created)) {
				t.Fatalf("%s, of %s, is refused for %s, of %s", o.Name, o.Created, r.With, objects[other].Created)
			}
		}
		if again := Compile(rest, pods); !reflect.DeepEqual(again.Faults, plan.Faults) || len(again.Refused) > 0 {
			t.Fatalf("without the refused:\n%+v\nwant\n%+v", again, plan)
		}
	})
}

// Effects are the worst that a packet between two pods meets, of any kind that the
// objects speak of but UDP and ICMP.
func TestEffectsAreTheWorstPackets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pods, objects := drawPods(t), drawObjects(t)
		plan := Compile(objects, pods)
		want := make(map[Pair]Effect)
		for i, a := range pods {
			for _, b := range pods[i+1:] {
				forth, back := worstPacket(plan, kinds(objects), a, b), worstPacket(plan, kinds(objects), b, a)
				e := Effect{forth.Partition || back.Partition, max(forth.Loss, back.Loss), forth.RTT + back.RTT}
				if e != (Effect{}) {
					want[Pair{a.Name, b.Name}] = e
				}
			}
		}
		if got := plan.Effects(rapid.Permutation(pods).Draw(t, "pods in another order")); !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v\nwant\n%+v", got, want)
		}
	})
}

// kinds has a packet of each kind that objects treat alike, of those that count.
func kinds(objects []Object) []packet {
	ports := []uint16{60_000}
	for _, o := range objects {
		for _, p := range o.Ports {
			ports = append(ports, p.First, p.Last+1)
		}
	}
	slices.Sort(ports)
	all := []packet{{protocol: "other"}}
	for _, source := range slices.Compact(ports) {
		for _, target := range slices.Compact(ports) {
			all = append(all, packet{protocol: "tcp", sourcePort: source, targetPort: target})
		}
	}
	return all
}

// worstPacket is the worst that some packets meet on the way from one pod to another.
func worstPacket(plan Plan, kinds []packet, from, to Pod) (worst Effect) {
	for _, source := range from.Addrs {
		for _, target := range to.Addrs {
			for _, p := range kinds {
				if source.Is4() != target.Is4() {
					continue
				}
				p.source, p.sender, p.senderAgent = source, from.Name, from.Agent
				p.target, p.receiver, p.targetAgent = target, to.Name, to.Agent
				h := compiled(plan, p)
				worst.Partition = worst.Partition || h.cut
				worst.Loss = max(worst.Loss, fault.Percent(math.Round((1-h.passes)*float64(fault.Hundred))))
				worst.RTT = max(worst.RTT, h.delay+4*h.jitter) // the jitter is normal
			}
		}
	}
	return worst
}
