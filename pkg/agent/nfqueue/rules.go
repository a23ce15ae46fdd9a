//go:build linux

package nfqueue

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/fault"
)

// owner starts the comment of every rule of ours.
const owner = "tidelay "

// rule is one nftables rule. Its comment explains it in `nft list ruleset`. In
// the kernel the comment begins with owner, by which we know that the rule is
// ours.
type rule struct {
	comment string
	exprs   []expr.Any
}

// policy is what the rules depend on beside the faults.
type policy struct {
	devices        []string
	exempt         fault.Exemption
	queueStatement queueStatement
}

// baseRules returns the rules of a base chain. First comes what is exempt, then
// the faults, the most precise first. For egress by eth0, a kubelet probe of port
// 20180 from node 10.0.0.1, and one fault, nft prints:
//
//	oifname != "eth0" accept
//	icmpv6 type 133-137 accept
//	tcp sport 2332 accept
//	tcp dport 2332 accept
//	ip daddr 10.0.0.1 tcp sport 20180 accept
//	ip daddr 10.0.7.0/24 tcp dport 2379 goto egress-0
func (p policy) baseRules(direction fault.Direction, v6 bool, target layout) []rule {
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
		for _, r := range fault.Rules(target.faults, direction, device) {
			if r.V6 != v6 {
				continue
			}
			match := matchTerm(direction, r.Term)
			if len(p.devices) > 1 {
				match = join(onDevice(direction, device), match)
			}
			chain := target.slots[direction][r.Fault].chain()
			rules = append(rules, rule{"fault " + r.Fault, join(match, gotoChain(chain))})
		}
	}
	return rules
}

// faultRules returns the rules of the chain of one fault. The first one only names
// the fault, so that another delay changes no other rule, and counters go on. The
// last one has all packets wait that met none before. Ingress needs only these two,
// since an arriving packet belongs to no socket yet. A partition's last rule leads
// to the sink queue. copies says whether copies wait in the place of what must not
// wait itself; see the package comment.
func (p policy) faultRules(at slot, v6 bool, f fault.Fault, copies bool) []rule {
	named := []rule{{formatFault(f), goOn()}}
	if f.Impairment.Partition {
		return append(named, rule{"drop", join(counter(), p.queueStatement(sinkQueue, true))})
	}
	wait := join(counter(), p.queueStatement(at.queue(), true))
	last := rule{"delay", wait}
	switch {
	case at.direction == fault.Ingress:
		return append(named, last)
	case copies:
		return append(append(named, p.copyRules(at, v6)...), last)
	default:
		return append(append(named, originalRules(v6, wait)...), last)
	}
}

// copyRules copies the packets that must not wait themselves. For IPv4, nft
// prints:
//
//	meta mark 0x7429646c meta mark set 0 counter queue num 2340
//	meta mark 0x7469646c ip frag-off set ip frag-off & 0xbfff meta mark set 0 counter queue num 2340
//	meta mark 0x7469646c queue num 2335
//	meta mark != 0 meta l4proto tcp meta skuid >= 0 counter queue num 2340 bypass
//	tcp flags & (syn|ack) != syn meta mark set ... dup to rt ip nexthop device oif meta mark set 0 queue num 2333 bypass
//	icmp type != ... ip length > 2048 accept
//	icmp type != ... meta mark set ... dup to rt ip nexthop device oif meta mark set 0 queue num 2333 bypass
//
// Linux 7.2 lets no rule write to the flags of IPv4. The second rule ends there
// without an effect, and the third gives the copy to flagClearer.
//
// For IPv6 there is no DF. But there only the sender cuts up a packet, so an ICMP
// packet that may need that is routed by its destination, for which the kernel
// knows the MTU of the path.
func (p policy) copyRules(at slot, v6 bool) []rule {
	wait := join(setMark(0), counter(), p.queueStatement(at.queue(), false))
	replace := func(duplicate []expr.Any) []expr.Any {
		return join(markCopy(v6), duplicate, setMark(0), p.queueStatement(sinkQueue, true))
	}
	rules := []rule{{"delay the copy", join(hasMark(copyMark), wait)}}
	if !v6 {
		rules = []rule{
			{"delay the copy", join(hasMark(unfragmentedMark()), wait)},
			{"delay the copy, without DF", join(hasMark(copyMark), clearDontFragment(), wait)},
			{"the same, where rules can't", join(hasMark(copyMark), p.queueStatement(flagQueue, false))},
		}
	}
	rules = append(rules,
		rule{"delay what has a mark of its own", join(hasOwnMark(), protocol(unix.IPPROTO_TCP), ofProcess(),
			counter(), p.queueStatement(at.queue(), true))},
		rule{"copy TCP, drop the original", join(tcpNotFirst(), replace(duplicate(v6)))},
	)
	// A copy that is cut up into three or more has a size in the kernel's books that
	// is below zero (pskb_copy in net/core/skbuff.c, ip_do_fragment in
	// net/ipv4/ip_output.c), and a pod on the same node then drops it.
	const twoFragments = 2048
	rules = append(rules, rule{"pass the largest ICMP", join(icmpOfKernel(v6), packetLength(v6, expr.CmpOpGt, twoFragments), pass())})
	if v6 {
		const leastMTU = 1280 // RFC 8200, section 5
		rules = append(rules, rule{
			"copy large ICMP, drop the original",
			join(icmpOfKernel(v6), packetLength(v6, expr.CmpOpGt, leastMTU), replace(duplicateByDestination(v6))),
		})
	}
	return append(rules, rule{"copy ICMP, drop the original", join(icmpOfKernel(v6), replace(duplicate(v6)))})
}

// originalRules has the packets themselves wait, where copies can't travel like
// them. What the kernel sends from sockets that all pods of the node share passes.
// A socket that was closed still sends data, which waits like all the rest.
func originalRules(v6 bool, wait []expr.Any) []rule {
	return []rule{
		{"delay TCP of processes", join(protocol(unix.IPPROTO_TCP), ofProcess(), wait)},
		{"pass resets of the kernel", join(tcpFlags(expr.CmpOpNeq, tcpRST, 0), pass())},
		{"pass bare ACKs of the kernel", join(tcpBareACK(v6), pass())},
		{"pass ICMP of the kernel", join(icmpOfKernel(v6), pass())},
	}
}

// does reports whether a rule that was found does what the wanted one does.
func (r encodedRule) does(want encodedRule) bool {
	return r.comment == want.comment && r.content.holds(want.content)
}

// equalRules reports whether the rules that were found do what the wanted ones do.
func equalRules(found, want []encodedRule) bool {
	return slices.EqualFunc(found, want, encodedRule.does)
}

// formatFault returns the comment of the first rule of a fault's chain, less
// owner. For a plain delay it is the whole fault. For any other it is the name
// and a digest, which shows whether the kernel holds this fault or another one of
// the name.
func formatFault(f fault.Fault) string {
	if f.SameEffect(plainDelay(f.Impairment.Delay)) {
		return f.Name + " delay=" + fault.FormatDelay(f.Impairment.Delay)
	}
	wire := f.Wire()
	wire.ExpiresAt, wire.Owner = "", "" // how long it lasts and whose it is do not matter
	content, _ := json.Marshal(wire)    // can't fail: no float of a fault is infinite
	sum := sha256.Sum256(content)
	return f.Name + " #" + hex.EncodeToString(sum[:8])
}

// plainDelay returns the fault named latency that delays all egress and does
// nothing else.
func plainDelay(delay time.Duration) fault.Fault {
	return fault.Fault{
		Name:       fault.Latency,
		Match:      fault.Match{Direction: fault.Egress},
		Impairment: fault.Impairment{Delay: delay},
	}
}

// parseFault reads a comment of formatFault. It returns the name of the fault,
// and the fault itself if it is a plain delay.
func parseFault(comment string) (name string, plain *fault.Fault, ok bool) {
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
	f := plainDelay(d)
	return name, &f, name == fault.Latency
}

// commentType is NFTNL_UDATA_RULE_COMMENT of libnftnl. The user data of a rule is
// a list of entries: one byte of type, one byte of length, and that many bytes.
// Ours has one entry, a string that ends in NUL.
const commentType = 0

func formatComment(comment string) []byte {
	return append([]byte{commentType, byte(len(owner+comment) + 1)}, owner+comment+"\x00"...)
}

// parseComment returns the comment in the user data of a rule, less owner, and
// whether the rule is ours.
func parseComment(data []byte) (string, bool) {
	if len(data) < 3 || data[0] != commentType || int(data[1]) != len(data)-2 {
		return "", false
	}
	return strings.CutPrefix(strings.TrimSuffix(string(data[2:]), "\x00"), owner)
}
