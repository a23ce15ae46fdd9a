package agent

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/netem"
	"github.com/tidelay/tidelay/pkg/fault"
)

// latency is the answer of the /latency routes for the fault of that name, or
// for none.
func (s *server) latency(f *fault.Fault) api.Latency {
	answer := api.Latency{
		Engine:  s.choice.name,
		Devices: deviceNames(s.devices),
		Meaning: "no fault named latency: packets pass as if there had not been one",
	}
	if f == nil {
		return answer
	}
	wire := f.Wire()
	answer.Fault = &wire
	if wire.ExpiresAt != "" {
		answer.ExpiresAt = &wire.ExpiresAt
	}
	answer.RTT = roundTrip(*f)
	answer.TC = netem.Equivalent(deviceOf(*f, answer.Devices), *f)
	answer.Meaning = explain(*f, answer.Devices) + caveat(s.choice.name, *f)
	return answer
}

// deviceOf is the device of a fault, or the first of all.
func deviceOf(f fault.Fault, devices []string) string {
	if f.Match.Device != "" || len(devices) == 0 {
		return f.Match.Device
	}
	return devices[0]
}

// roundTrip is what a fault adds to an RTT, "+20ms" or "+40ms±10ms"; empty
// when it adds nothing that can be said beforehand.
func roundTrip(f fault.Fault) string {
	i := f.Impairment
	if i.Delay == 0 {
		return ""
	}
	times := 1
	if f.Match.Direction == fault.Both {
		times = 2
	}
	text := "+" + formatTimes(i.Delay, times)
	if i.Jitter > 0 {
		text += "±" + formatTimes(i.Jitter, times)
	}
	return text
}

// explain says in one sentence what the packets of a fault experience.
func explain(f fault.Fault, devices []string) string {
	on := strings.Join(devices, ", ")
	if f.Match.Device != "" {
		on = f.Match.Device
	}
	verbs := map[fault.Direction]string{fault.Egress: "leaves", fault.Ingress: "arrives at", fault.Both: "leaves or arrives at"}
	subject := "every packet"
	if f.Match.Protocol != "" {
		subject = "every " + strings.ToUpper(f.Match.Protocol) + " packet"
	}
	sentence := fmt.Sprintf("%s that %s %s%s %s", subject, verbs[f.Match.Direction], on, terms(f.Match), strings.Join(effects(f.Impairment), ", "))
	if d := f.Impairment.Delay; d > 0 {
		sentence += "; " + consequence(f)
	}
	return sentence
}

// caveat is what an engine holds of a fault without doing it; empty if nothing.
// The kernel takes the delay from its table by the low bits of a correlated
// number, which are as random as without (tabledist in net/sched/sch_netem.c).
func caveat(engine string, f fault.Fault) string {
	if engine == api.EngineNetem && f.Impairment.Correlation > 0 {
		return "; the kernel's netem holds the correlation of the jitter, but it has no effect there: the engine nfqueue does it"
	}
	return ""
}

// terms says which packets of a direction a fault meets.
func terms(m fault.Match) string {
	var text string
	if len(m.Peers) > 0 {
		text += " with the peer " + enumerate(peers(m.Peers))
	}
	if len(m.RemotePorts) > 0 {
		text += " with the remote port " + enumerate(m.RemotePorts)
	}
	if len(m.LocalPorts) > 0 {
		text += " with the local port " + enumerate(m.LocalPorts)
	}
	return text
}

// peers writes single addresses without their length.
func peers(prefixes []netip.Prefix) []fmt.Stringer {
	all := make([]fmt.Stringer, 0, len(prefixes))
	for _, prefix := range prefixes {
		if prefix.IsSingleIP() {
			all = append(all, prefix.Addr())
		} else {
			all = append(all, prefix)
		}
	}
	return all
}

// enumerate lists a few values and says how many more there are.
func enumerate[T fmt.Stringer](all []T) string {
	const shown = 4
	var words []string
	for _, one := range all[:min(len(all), shown)] {
		words = append(words, one.String())
	}
	if more := len(all) - shown; more > 0 {
		words = append(words, fmt.Sprintf("%d more", more))
	}
	return strings.Join(words, " or ")
}

// effects says what happens to a packet.
func effects(i fault.Impairment) []string {
	var all []string
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if i.Partition {
		say("is dropped")
	}
	if i.Delay > 0 {
		text := "is " + fault.FormatDelay(i.Delay) + " late, one way"
		if i.Jitter > 0 {
			text += fmt.Sprintf(", ±%s (%s)", fault.FormatDelay(i.Jitter), i.Distribution)
		}
		all = append(all, text)
	}
	if i.Loss != nil {
		say("is lost with a chance of %s", i.Loss.Percent)
	}
	if m := i.GilbertElliott; m != nil {
		say("is lost with a chance of %s in bad times and %s in good ones (Gilbert-Elliott)", m.LossInBad, m.LossInGood)
	}
	if i.FourState != nil {
		say("is lost as the four-state model has it")
	}
	if i.Duplicate != nil {
		say("is sent twice with a chance of %s", i.Duplicate.Percent)
	}
	if i.Corrupt != nil {
		say("has a bit flipped with a chance of %s", i.Corrupt.Percent)
	}
	if r := i.Reorder; r != nil {
		text := "goes at once, ahead of others, with a chance of " + r.Percent.String()
		if r.Gap > 1 {
			text += fmt.Sprintf(", one packet in %d", r.Gap)
		}
		all = append(all, text)
	}
	if i.Rate != nil {
		say("shares a link of %s per second with the others", fault.FormatRate(i.Rate.BitsPerSecond))
	}
	return all
}

// consequence says what a delay does to a round trip.
func consequence(f fault.Fault) string {
	if f.Match.Direction == fault.Both {
		return fmt.Sprintf("ping and one TCP connect take %s longer, from whichever side they start", formatTimes(f.Impairment.Delay, 2))
	}
	return fmt.Sprintf("ping and one TCP connect take %s longer, from whichever side they start, and a request on a new connection takes twice that",
		fault.FormatDelay(f.Impairment.Delay))
}

// summary is a fault in the log's words.
func summary(f *fault.Fault) string {
	if f == nil {
		return "none"
	}
	text := f.Match.Direction.String() + terms(f.Match) + ": " + strings.Join(effects(f.Impairment), ", ")
	if !f.ExpiresAt.IsZero() {
		text += ", until " + f.Wire().ExpiresAt
	}
	return text
}

// exemptions lists what no fault touches, in words.
func exemptions(e fault.Exemption) []string {
	all := []string{
		"loopback",
		"ARP and IPv6 neighbour discovery",
		fmt.Sprintf("TCP port %d, the agent's own, local or remote", e.ControlPort),
	}
	if len(e.NodeAddrs) == 0 || len(e.ProbePorts) == 0 {
		return append(all, "kubelet's probes: none are known (no --node-ip or no --probe-ports)")
	}
	addrs := make([]string, 0, len(e.NodeAddrs))
	for _, addr := range e.NodeAddrs {
		addrs = append(addrs, addr.String())
	}
	ports := strings.Trim(strings.ReplaceAll(fmt.Sprint(e.ProbePorts), " ", ", "), "[]")
	return append(all, fmt.Sprintf("kubelet's probes: TCP between local port %s and the node at %s", ports, strings.Join(slices.Compact(addrs), ", ")))
}
