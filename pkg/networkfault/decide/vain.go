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
func (o *object) isVain() string {
	control := api.PortRange{First: api.Port, Last: api.Port}
	if slices.Equal(o.ports, []api.PortRange{control}) && o.Spec.Protocol != fault.ProtocolUDP {
		return fmt.Sprintf("spec.ports %s: that is the agents' own TCP port, which no fault touches; want a port that a component listens on, such as 20160", control)
	}
	for _, s := range o.toSelectors {
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
	if family := d.withoutFamily(o); family != "" {
		return &refusal{ReasonNobodySelected, fmt.Sprintf("no pod of spec.from has an %s address, as the ranges of spec.to have", family)}
	}
	if len(d.holders(o, plan)) > 0 {
		return nil
	}
	if len(o.bare) > 0 {
		return &refusal{ReasonNoAgent, "no selected pod can have it: " + list(o.bare) + " without an agent, or on the network of the node"}
	}
	return &refusal{ReasonInvalid, "it is so small that it changes nothing at any selected pod"}
}

// withoutFamily returns the family of ranges that an object is for and that none of its
// pods can talk to; "" if it is for other pods too, or if that is not known yet.
func (d *decision) withoutFamily(o *object) string {
	if len(o.cidrs) == 0 || len(o.to) > 0 {
		return ""
	}
	is4 := o.cidrs[0].Addr().Is4()
	for _, name := range o.from {
		p := d.find(name)
		isUsed := func(r netip.Prefix) bool {
			return slices.ContainsFunc(p.Addrs, func(a netip.Addr) bool { return a.Unmap().Is4() == r.Addr().Is4() })
		}
		if p == nil || len(p.Addrs) == 0 || slices.ContainsFunc(o.cidrs, isUsed) {
			return ""
		}
	}
	if is4 {
		return "IPv4"
	}
	return "IPv6"
}
