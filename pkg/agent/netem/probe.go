package netem

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/agent/fault"
	"github.com/tidelay/tidelay/pkg/agent/rtnl"
)

// probeName is the scratch link's name. A link of that name is the rest of a
// probe that was killed.
const probeName = "tidelay-probe"

// netemFix is what people do about a missing sch_netem, by distribution.
const netemFix = "on the node run `modprobe sch_netem sch_prio cls_u32`; where that finds no module, " +
	"RHEL, CentOS and Fedora have it in the package kernel-modules-extra, Debian and Ubuntu cloud images in linux-modules-extra-$(uname -r)"

// Probe tries a whole fault on a scratch link that carries no packets and
// removes it again. It returns nil when this engine works here, and otherwise
// an error that wraps fault.ErrUnsupported and names what is missing and how to
// get it.
func Probe(log *slog.Logger) (err error) {
	link, err := addScratchLink()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, netlink.LinkDel(link)) }()

	device := rtnl.Device{Name: probeName, Index: link.Attrs().Index}
	err = New(device, fault.Exemption{ControlPort: 1}, log).Set(fault.Fault{Name: fault.Latency, Delay: time.Millisecond})
	switch {
	case errors.Is(err, fault.ErrUnsupported):
		return fmt.Errorf("%w; %s", err, netemFix)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: %w; the container needs the capability NET_ADMIN", fault.ErrUnsupported, err)
	case err != nil:
		return fmt.Errorf("%w: %w", fault.ErrUnsupported, err)
	}
	return nil
}

// addScratchLink makes a link of the first kind this kernel knows.
func addScratchLink() (netlink.Link, error) {
	if old, err := netlink.LinkByName(probeName); err == nil {
		if err := netlink.LinkDel(old); err != nil {
			return nil, fmt.Errorf("delete left-over link %s: %w", probeName, err)
		}
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
			return scratch(link)
		}
		if errors.Is(err, unix.EPERM) {
			return nil, fmt.Errorf("%w: add scratch link: %w; the container needs the capability NET_ADMIN", fault.ErrUnsupported, err)
		}
		errs = append(errs, fmt.Errorf("%s: %w", link.Type(), err))
	}
	return nil, fmt.Errorf("%w: add scratch link: %w", fault.ErrUnsupported, errors.Join(errs...))
}

// scratch reads the link back for its index.
func scratch(link netlink.Link) (netlink.Link, error) {
	found, err := netlink.LinkByName(link.Attrs().Name)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("find scratch link: %w", err), netlink.LinkDel(link))
	}
	return found, nil
}
