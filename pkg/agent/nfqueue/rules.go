//go:build linux

package nfqueue

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/google/nftables/expr"

	"github.com/tidelay/tidelay/pkg/agent/fault"
)

// owner starts the comment of every rule of ours.
const owner = "tidelay "

// copyMark tells the copy that is to be delayed from its original: "tidl".
const copyMark = 0x7469646c

// rule is one nftables rule. Its comment, which the kernel holds with owner in
// front, explains it in `nft list ruleset` and tells us that it is ours.
type rule struct {
	comment string
	exprs   []expr.Any
}

// policy is what the rules say beside the fault itself.
type policy struct {
	device  string
	exempt  fault.Exemption
	enqueue enqueue
}

// rules returns the chain that puts a fault in force for IPv4 or IPv6. In nft's
// words, for device eth0 and a probe of port 20180 from node 10.0.0.1:
//
//	oifname != "eth0" return
//	icmpv6 type 133-137 return
//	tcp sport 2332 return
//	tcp dport 2332 return
//	ip daddr 10.0.0.1 tcp sport 20180 return
//	meta mark 0x7469646c meta mark set 0 counter queue num 2332
//	meta mark 0 tcp flags ! syn meta mark set 0x7469646c dup to ip daddr device oif meta mark set 0 queue num 2333 bypass
//	counter queue num 2332 bypass
//
// Without the two rules before the last, TCP would crawl; see the package
// comment.
func (p policy) rules(v6 bool, f fault.Fault) []rule {
	rules := []rule{{"other devices", join(notDevice(p.device), pass())}}
	if v6 {
		rules = append(rules, rule{"neighbour discovery", join(neighbourDiscovery(), pass())})
	}
	rules = append(rules,
		rule{"control port", join(tcpPort(sourcePort, p.exempt.ControlPort), pass())},
		rule{"control port", join(tcpPort(destinationPort, p.exempt.ControlPort), pass())},
	)
	for _, node := range p.exempt.NodeAddrs {
		node = node.Unmap().WithZone("")
		if node.Is6() != v6 {
			continue
		}
		for _, probed := range p.exempt.ProbePorts {
			rules = append(rules, rule{"kubelet probes", join(destination(node), tcpPort(sourcePort, probed), pass())})
		}
	}
	rules = append(rules,
		rule{"hold the copy", join(mark(copyMark), setMark(0), counter(), p.enqueue(delayQueue, false))},
		rule{"copy, swallow the original", join(mark(0), tcpNotSYN(),
			setMark(copyMark), duplicate(v6), setMark(0), p.enqueue(sinkQueue, true))},
		rule{formatFault(f), join(counter(), p.enqueue(delayQueue, true))},
	)
	return rules
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
func formatFault(f fault.Fault) string {
	return fmt.Sprintf("%s delay=%s", f.Name, f.Delay)
}

// parseFault is the inverse of formatFault.
func parseFault(comment string) (fault.Fault, error) {
	name, delay, ok := strings.Cut(comment, " delay=")
	if !ok {
		return fault.Fault{}, fmt.Errorf("parse rule comment %q: no delay", comment)
	}
	d, err := time.ParseDuration(delay)
	if err != nil {
		return fault.Fault{}, fmt.Errorf("parse rule comment %q: %w", comment, err)
	}
	return fault.Fault{Name: name, Delay: d}, nil
}

// maxName keeps a comment well below what nft reads, 128 bytes.
const maxName = 64

// keepable checks that a fault's name fits in a comment.
func keepable(f fault.Fault) error {
	if kept, err := parseFault(formatFault(f)); err != nil || kept != f || len(f.Name) > maxName {
		return fmt.Errorf("fault name %q: want at most %d bytes, without \" delay=\"", f.Name, maxName)
	}
	return nil
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
