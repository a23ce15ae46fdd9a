package netem

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/fault"
)

// probeName is the name of the scratch link. If there is such a link already, a
// probe that was killed has left it.
const probeName = "tidelay-probe"

// netemFix says how to get a missing sch_netem, by distribution.
const netemFix = "on the node run `modprobe sch_netem sch_prio cls_u32`; where that finds no module, " +
	"RHEL, CentOS and Fedora have it in the package kernel-modules-extra, Debian and Ubuntu cloud images in linux-modules-extra-$(uname -r)"

// rateFix says how to get what only a rate needs.
const rateFix = "on the node run `modprobe sch_tbf`"

// ingressFix says how to get what only ingress needs.
const ingressFix = "on the node run `modprobe ifb sch_ingress act_mirred`"

// Probe finds out what this kernel can do. It puts whole faults on a scratch link
// that carries no packets, and deletes it again. It returns the features that
// the kernel lacks, with the reasons.
//
// If this engine does not work here at all, the error wraps
// fault.ErrUnsupported and says what is missing and how to get it.
func Probe(log *slog.Logger) (lacks map[fault.Feature]string, err error) {
	link, err := addScratchLink()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, netlink.LinkDel(link)) }()

	const memory = 1 << 20
	scope := fault.Scope{Devices: []string{probeName}, Exempt: fault.Exemption{ControlPort: 1}}
	unknown := map[fault.Feature]string{fault.FeatureIngress: "not tried yet"}
	e := New(scope, memory, unknown, log)
	e.keepsOthers = true // they are of the engine that will run
	plain := scratchFault("plain")
	err = e.Apply([]fault.Fault{plain})
	switch {
	case errors.Is(err, fault.ErrUnsupported):
		return nil, fmt.Errorf("%w; %s", err, netemFix)
	case errors.Is(err, unix.EPERM):
		return nil, fmt.Errorf("%w: %w; the container needs the capability NET_ADMIN", fault.ErrUnsupported, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", fault.ErrUnsupported, err)
	}
	lacks = make(map[fault.Feature]string)
	e.lacks = lacks // also for the trials that follow
	for _, trial := range trials(plain) {
		if err := errors.Join(e.Apply(nil), e.Apply(trial.faults)); err != nil {
			lacks[trial.feature] = strings.TrimPrefix(trial.explain+": "+err.Error(), ": ")
		}
	}
	return lacks, e.Apply(nil)
}

// trial is a set of faults that only works with a feature.
type trial struct {
	feature fault.Feature
	faults  []fault.Fault
	// explain says what a refusal means or how to get the feature; empty if the
	// kernel's answer says enough.
	explain string
}

// trials returns one trial for each feature. plain is a fault that works.
func trials(plain fault.Fault) []trial {
	const percent = fault.Hundred / 10
	chance := &fault.Chance{Percent: percent, Correlation: percent}
	seed := uint64(1)
	duplicate, corrupt, seeded, ingress := scratchFault("duplicate"), scratchFault("corrupt"), scratchFault("seed"), scratchFault("ingress")
	rate := scratchFault("rate")
	duplicate.Impairment.Duplicate = chance
	corrupt.Impairment.Corrupt = chance
	rate.Impairment.Rate = &fault.Rate{BitsPerSecond: fault.MaxRate, PacketOverhead: 1, CellSize: 1, CellOverhead: 1}
	seeded.Impairment.Loss, seeded.Impairment.Seed = chance, &seed
	ingress.Match.Direction = fault.Ingress
	plain.Match.Protocol = fault.ProtocolUDP
	slow := plain
	slow.Impairment.Rate = &fault.Rate{BitsPerSecond: fault.MinRate} // with a segmenter
	return []trial{
		{feature: fault.FeatureIngress, faults: []fault.Fault{ingress}, explain: ingressFix},
		{feature: fault.FeatureDuplicate, faults: []fault.Fault{duplicate}},
		{feature: fault.FeatureDuplicateBeside, faults: []fault.Fault{duplicate, plain}, explain: "since 2025 kernels refuse a duplicating netem beside another one on the same interface"},
		{feature: fault.FeatureCorrupt, faults: []fault.Fault{corrupt}},
		{feature: fault.FeatureRate, faults: []fault.Fault{rate, slow}, explain: rateFix},
		{feature: fault.FeatureSeed, faults: []fault.Fault{seeded}, explain: "netem takes a seed from Linux 6.6 on"},
	}
}

func scratchFault(name string) fault.Fault {
	return fault.Fault{Name: name, Match: fault.Match{Direction: fault.Egress}, Impairment: fault.Impairment{Delay: time.Millisecond}}
}

// addScratchLink adds a link of the first kind that this kernel has.
func addScratchLink() (netlink.Link, error) {
	if err := deleteLeftover(); err != nil {
		return nil, err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = probeName
	var errs []error
	for _, link := range []netlink.Link{
		&netlink.Dummy{LinkAttrs: attrs},
		&netlink.Ifb{LinkAttrs: attrs},
		&netlink.Bridge{LinkAttrs: attrs},
		&netlink.Veth{LinkAttrs: attrs, PeerName: probeName + "1"},
	} {
		err := netlink.LinkAdd(link)
		if err == nil {
			return readScratchLink(link)
		}
		if errors.Is(err, unix.EPERM) {
			return nil, fmt.Errorf("%w: add scratch link: %w; the container needs the capability NET_ADMIN", fault.ErrUnsupported, err)
		}
		errs = append(errs, fmt.Errorf("%s: %w", link.Type(), err))
	}
	return nil, fmt.Errorf("%w: add scratch link: %w", fault.ErrUnsupported, errors.Join(errs...))
}

// deleteLeftover deletes what a probe that was killed has left.
func deleteLeftover() error {
	old, err := netlink.LinkByName(probeName)
	if err != nil {
		return nil //nolint:nilerr // there is none, or adding a link will fail for the same reason
	}
	links := []netlink.Link{old}
	if ifb, err := netlink.LinkByName(ifbName(old.Attrs().Index)); err == nil {
		links = append(links, ifb)
	}
	for _, link := range links {
		if err := netlink.LinkDel(link); err != nil {
			return fmt.Errorf("delete left-over link %s: %w", link.Attrs().Name, err)
		}
	}
	return nil
}

// readScratchLink reads the link back for its index.
func readScratchLink(link netlink.Link) (netlink.Link, error) {
	found, err := netlink.LinkByName(link.Attrs().Name)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("find scratch link: %w", err), netlink.LinkDel(link))
	}
	return found, nil
}
