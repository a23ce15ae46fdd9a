package decide

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
	"github.com/tidelay/tidelay/pkg/networkfault/compile"
)

// isVain says why the spec means packets that no fault touches, or that there are none of;
// "" if it does not. Agents would take such a fault, and warn of it.
func (f *faultAsked) isVain() string {
	control := api.PortRange{First: api.Port, Last: api.Port}
	if slices.Equal(f.ports, []api.PortRange{control}) && f.spec.Protocol != fault.ProtocolUDP {
		return fmt.Sprintf("spec.ports %s: that is the agents' own TCP port, which no fault touches; want a port that a component listens on, such as 20160", control)
	}
	for _, s := range f.toSelectors {
		switch addr := s.CIDR.Addr(); {
		case !s.CIDR.IsValid():
		case addr.IsLoopback() && (addr.Is6() || s.CIDR.Bits() >= 8):
			return fmt.Sprintf("spec.to: %s is loopback, which no fault touches; want a range of addresses outside the pods", s)
		case addr.IsUnspecified() && s.CIDR.IsSingleIP():
			return fmt.Sprintf("spec.to: %s is a single address, which nobody has; all of the family are cidr/%s/0", s, addr)
		}
	}
	return ""
}

// nobodyCan says why an object that is to start would be in force at no pod; nil if it would
// be at some. A pod that has no address yet may be one.
func (d *decision) nobodyCan(o *object, plan compile.Plan) *refusal {
	switch unheard := o.unheard(d); {
	case unheard != nil:
		return unheard
	case len(d.holders(o, plan)) > 0:
		return nil
	case len(o.bare) > 0:
		return &refusal{ReasonNoAgent, "no selected pod can have it: " + list(o.bare) + " without an agent, or on the network of the node"}
	default:
		return &refusal{ReasonInvalid, o.nothing()}
	}
}

// unheard is about ranges of a family that no pod of the other side has.
func (f *faultAsked) unheard(d *decision) *refusal {
	if family := d.withoutFamily(f); family != "" {
		return &refusal{ReasonNobodySelected, fmt.Sprintf("no pod of spec.from has an %s address, as the ranges of spec.to have", family)}
	}
	return nil
}

// withoutFamily returns the family of ranges that a fault is for and that none of its
// pods can talk to; "" if it is for other pods too, or if that is not known yet.
func (d *decision) withoutFamily(f *faultAsked) string {
	if len(f.cidrs) == 0 || len(f.to) > 0 {
		return ""
	}
	is4 := f.cidrs[0].Addr().Is4()
	for _, name := range f.from {
		p := d.find(name)
		isUsed := func(r netip.Prefix) bool {
			return slices.ContainsFunc(p.Addrs, func(a netip.Addr) bool { return a.Unmap().Is4() == r.Addr().Is4() })
		}
		if p == nil || len(p.Addrs) == 0 || slices.ContainsFunc(f.cidrs, isUsed) {
			return ""
		}
	}
	if is4 {
		return "IPv4"
	}
	return "IPv6"
}
