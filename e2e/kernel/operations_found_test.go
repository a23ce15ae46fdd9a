//go:build kernel

package kernel

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tidelay/tidelay/e2e/netlab"
)

// inKernel is what tc or nft shows of faults, by where they are: "eth0 egress" with
// netem, "ip6 egress" with nfqueue, whose rules are for all interfaces. With netem it
// is what they do, with nfqueue their names.
type inKernel map[string][]string

func (k inKernel) String() string {
	var all []string
	for _, at := range slices.Sorted(maps.Keys(k)) {
		all = append(all, fmt.Sprintf("%s: %s", at, strings.Join(k[at], ", ")))
	}
	return strings.Join(all, "; ")
}

// sorted returns it in order, without places that have nothing.
func (k inKernel) sorted() inKernel {
	for at, what := range k {
		if slices.Sort(what); len(what) == 0 {
			delete(k, at)
		}
	}
	return k
}

// wantInKernel is what there should be of a set of faults.
func wantInKernel(faults faultSet, devices []string) inKernel {
	want := make(inKernel)
	for _, direction := range []string{"egress", "ingress"} {
		if engineName == "nfqueue" {
			for name, f := range faults {
				for _, family := range []string{"ip", "ip6"} {
					if at := family + " " + direction; f.Direction == direction || f.Direction == "both" {
						want[at] = append(want[at], name)
					}
				}
			}
			continue
		}
		for _, device := range devices {
			for _, f := range faults.onDevice(device, direction) {
				at := device + " " + direction
				want[at] = append(want[at], inTC(f))
			}
		}
	}
	return want.sorted()
}

// inTC writes what a fault does as tc does.
func inTC(f wanted) string {
	switch {
	case f.Partition:
		return "loss 100%"
	case f.Rate != nil:
		return "rate " + strings.Replace(f.Rate.PerSecond, "mbit", "Mbit", 1)
	default:
		return "delay " + f.Delay
	}
}

// readKernel reads it with tc or nft.
func readKernel(t testing.TB, pod *netlab.Host) inKernel {
	t.Helper()
	if engineName == "nfqueue" {
		return readRules(pod.Ruleset(t))
	}
	return readQdiscs(pod.Exec(t, "tc qdisc show"), pod.Exec(t, "ip -o link show"))
}

var (
	netemLine = regexp.MustCompile(`(?m)^qdisc netem \S+ dev (\S+) parent \S+ limit \d+ (.*?)(?: seed \d+)?\s*$`)
	linkLine  = regexp.MustCompile(`(?m)^(\d+): ([^:@]+)`)
	tableLine = regexp.MustCompile(`^table (ip6?) tidelay {`)
	chainLine = regexp.MustCompile(`^\s*chain (egress|ingress)-\d+ {`)
	faultLine = regexp.MustCompile(`comment "tidelay (\S+) (?:#|delay=)`)
)

// readQdiscs reads what tc shows of netems. That of arriving packets is on a link
// that has the index of the interface in its name.
func readQdiscs(qdiscs, links string) inKernel {
	found, devices := make(inKernel), make(map[string]string)
	for _, link := range linkLine.FindAllStringSubmatch(links, -1) {
		devices["tidelay"+link[1]] = link[2]
	}
	for _, netem := range netemLine.FindAllStringSubmatch(qdiscs, -1) {
		at := netem[1] + " egress"
		if device, is := devices[netem[1]]; is {
			at = device + " ingress"
		}
		found[at] = append(found[at], netem[2])
	}
	return found.sorted()
}

// readRules reads the comments of the faults' chains, which both IP families have.
func readRules(ruleset string) inKernel {
	found, family, at := make(inKernel), "", ""
	for line := range strings.Lines(ruleset) {
		if table := tableLine.FindStringSubmatch(line); table != nil {
			family = table[1]
		}
		if chain := chainLine.FindStringSubmatch(line); chain != nil {
			at = family + " " + chain[1]
		}
		if fault := faultLine.FindStringSubmatch(line); fault != nil {
			found[at] = append(found[at], fault[1])
		}
	}
	return found.sorted()
}
