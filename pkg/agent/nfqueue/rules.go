//go:build linux

package nfqueue

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"reflect"
	"slices"
	"strings"

	"github.com/google/nftables/expr"

	"github.com/tidelay/tidelay/pkg/fault"
)

// owner starts the comment of every rule of ours.
const owner = "tidelay "

// copyMark tells the copy that is to be held from its original: "tidl".
const copyMark = 0x7469646c

// rule is one nftables rule. Its comment, which the kernel holds with owner in
// front, explains it in `nft list ruleset` and tells us that it is ours.
type rule struct {
	comment string
	exprs   []expr.Any
}

// policy is what the rules say beside the faults themselves.
type policy struct {
	devices []string
	exempt  fault.Exemption
	enqueue enqueue
}

// base returns the rules that every packet of a direction meets: first what is
// exempt, then the faults, the most precise first. In nft's words, for egress
// by eth0, a probe of port 20180 from node 10.0.0.1, and one fault:
//
//	oifname != "eth0" return
//	icmpv6 type 133-137 return
//	tcp sport 2332 return
//	tcp dport 2332 return
//	ip daddr 10.0.0.1 tcp sport 20180 return
//	ip daddr 10.0.7.0/24 tcp dport 2379 goto egress-0
func (p policy) base(direction fault.Direction, v6 bool, faults []fault.Fault, places slots) []rule {
	rules := []rule{{"other devices", join(notDevices(direction, p.devices), pass())}}
	if v6 {
		rules = append(rules, rule{"neighbour discovery", join(neighbourDiscovery(), pass())})
	}
	rules = append(rules,
		rule{"control port", join(tcpPort(sourcePort, p.exempt.ControlPort), pass())},
		rule{"control port", join(tcpPort(destinationPort, p.exempt.ControlPort), pass())},
	)
	local := localPort(direction)
	for _, node := range p.exempt.NodeAddrs {
		node = node.Unmap().WithZone("")
		if node.Is6() != v6 {
			continue
		}
		for _, probed := range p.exempt.ProbePorts {
			rules = append(rules, rule{"kubelet probes", join(peerAddress(direction, node), tcpPort(local, probed), pass())})
		}
	}
	for _, device := range p.devices {
		for _, r := range fault.Rules(faults, direction, device) {
			if r.V6 != v6 {
				continue
			}
			match := term(direction, r.Term)
			if len(p.devices) > 1 {
				match = join(onDevice(direction, device), match)
			}
			rules = append(rules, rule{"fault " + r.Fault, join(match, jump(places[direction][r.Fault].chain()))})
		}
	}
	return rules
}

// hold returns the chain of one fault. In nft's words, for egress:
//
//	meta mark 0x7469646c meta mark set 0 counter queue num 2340
//	meta mark 0 tcp flags ! syn meta mark set 0x7469646c dup to ip daddr device oif meta mark set 0 queue num 2333 bypass
//	counter queue num 2340 bypass
//
// Without the first two, TCP would crawl; see the package comment. What
// arrives belongs to no socket yet and needs only the last. A partition
// swallows: its sender is told that all went well.
func (p policy) hold(at slot, v6 bool, f fault.Fault) []rule {
	if f.Impairment.Partition {
		return []rule{{formatFault(f), join(counter(), p.enqueue(sinkQueue, true))}}
	}
	last := rule{formatFault(f), join(counter(), p.enqueue(at.queue(), true))}
	if at.direction == fault.Ingress {
		return []rule{last}
	}
	return []rule{
		{"hold the copy", join(mark(copyMark), setMark(0), counter(), p.enqueue(at.queue(), false))},
		{"copy, swallow the original", join(mark(0), tcpNotSYN(),
			setMark(copyMark), duplicate(v6), setMark(0), p.enqueue(sinkQueue, true))},
		last,
	}
}

// equalRules reports whether the kernel's rules are the ones that were asked
// for. What they counted is not part of them, and neither is the dup
// statement, which the library can write but not read.
func equalRules(held, asked []rule) bool {
	return slices.EqualFunc(held, asked, func(a, b rule) bool {
		return a.comment == b.comment && reflect.DeepEqual(a.readable(), b.readable())
	})
}

func (r rule) readable() []expr.Any {
	return slices.DeleteFunc(slices.Clone(r.exprs), func(e expr.Any) bool {
		switch e.(type) {
		case *expr.Counter, *expr.Dup:
			return true
		default:
			return false
		}
	})
}

// formatFault is the comment of the rule that stands for a fault, less owner.
// A plain latency can be read back from it; of any other it has the name and a
// digest, so that the kernel can tell whether it holds the one that is asked
// for.
func formatFault(f fault.Fault) string {
	if isPlain(f) {
		return f.Name + " delay=" + fault.FormatDelay(f.Impairment.Delay)
	}
	wire := f.Wire()
	wire.ExpiresAt = ""              // its life is no part of what it does
	content, _ := json.Marshal(wire) // no float of a fault is infinite
	sum := sha256.Sum256(content)
	return f.Name + " #" + hex.EncodeToString(sum[:8])
}

// plain is the latency fault of a delay.
func plain(f fault.Fault) fault.Fault {
	return fault.Fault{
		Name:       fault.Latency,
		Match:      fault.Match{Direction: fault.Egress},
		Impairment: fault.Impairment{Delay: f.Impairment.Delay},
	}
}

func isPlain(f fault.Fault) bool { return f.SameEffect(plain(f)) }

// parseFault returns the name of the fault that a comment stands for, and the
// fault itself if it is a plain latency.
func parseFault(comment string) (name string, latency *fault.Fault, ok bool) {
	name, rest, ok := strings.Cut(comment, " ")
	if !ok {
		return "", nil, false
	}
	delay, found := strings.CutPrefix(rest, "delay=")
	if !found {
		return name, nil, strings.HasPrefix(rest, "#")
	}
	d, err := fault.ParseDelay(delay)
	if err != nil {
		return "", nil, false
	}
	f := plain(fault.Fault{Impairment: fault.Impairment{Delay: d}})
	return name, &f, name == fault.Latency
}

// commentType is NFTNL_UDATA_RULE_COMMENT. User data is a list of a type, a
// length and that many bytes; ours has one entry, a string that ends in NUL.
const commentType = 0

func formatComment(comment string) []byte {
	return append([]byte{commentType, byte(len(owner+comment) + 1)}, owner+comment+"\x00"...)
}

// parseComment returns the comment of a rule of ours, less owner, and whether
// it is one.
func parseComment(data []byte) (string, bool) {
	if len(data) < 3 || data[0] != commentType || int(data[1]) != len(data)-2 {
		return "", false
	}
	return strings.CutPrefix(strings.TrimSuffix(string(data[2:]), "\x00"), owner)
}
