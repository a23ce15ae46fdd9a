package explain

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// RoundTrip returns what a fault adds to the RTT that ping shows: "+20ms",
// "+40ms±10ms". It is empty for a fault without a delay.
func RoundTrip(f fault.Fault) string {
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

// Meaning says in one sentence what packets experience under a fault. Devices
// are the agent's interfaces, and engine is the one that runs (api.EngineNetem,
// api.EngineNFQueue).
func Meaning(f fault.Fault, engine string, devices []string) string {
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
	if f.Impairment.Delay > 0 {
		sentence += "; " + consequence(f)
	}
	if f.Impairment.Rate != nil && f.Match.Device == "" && len(devices) > 1 {
		sentence += "; each interface is a link of its own"
	}
	return sentence + caveat(f, engine)
}

// caveat names the part of a fault that the engine accepts and that has no
// effect; empty if there is none.
//
// In the kernel's netem this is the correlation of the jitter: the delay is
// looked up in a table by the low bits of a correlated number, and these are as
// random as without correlation (tabledist in net/sched/sch_netem.c).
func caveat(f fault.Fault, engine string) string {
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

// peers returns single addresses without a prefix length, and the rest as CIDRs.
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

// enumerate lists the first four values and says how many more there are.
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

// effects lists what happens to a packet.
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

// consequence says what a delay adds to a ping and to a TCP connect.
func consequence(f fault.Fault) string {
	if f.Match.Direction == fault.Both {
		return fmt.Sprintf("ping and one TCP connect take %s longer, from whichever side they start", formatTimes(f.Impairment.Delay, 2))
	}
	return fmt.Sprintf("ping and one TCP connect take %s longer, from whichever side they start, and a request on a new connection takes twice that",
		fault.FormatDelay(f.Impairment.Delay))
}

// Summary describes a fault in the agent's log; "none" for nil.
func Summary(f *fault.Fault) string {
	if f == nil {
		return "none"
	}
	text := f.Match.Direction.String() + terms(f.Match) + ": " + strings.Join(effects(f.Impairment), ", ")
	if f.Owner != "" {
		text += ", for owner " + f.Owner
	}
	if !f.ExpiresAt.IsZero() {
		text += ", until " + f.Wire().ExpiresAt
	}
	return text
}

// formatTimes writes a multiple of a delay. FormatDelay writes at most MaxDelay.
func formatTimes(d time.Duration, times int) string {
	if total := d * time.Duration(times); total <= fault.MaxDelay {
		return fault.FormatDelay(total)
	}
	return (d * time.Duration(times)).String()
}
