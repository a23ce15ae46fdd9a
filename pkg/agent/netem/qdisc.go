package netem

import (
	"errors"
	"fmt"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/agent/fault"
	"github.com/tidelay/tidelay/pkg/agent/rtnl"
)

// qdisc is a queueing discipline as the kernel reports it. The options stay
// raw: the netlink library's netem type is 32-bit and leaves zeros out.
type qdisc struct {
	kind     string
	handle   uint32
	parent   uint32
	options  []byte
	counters fault.Counters
}

func (q qdisc) String() string {
	return fmt.Sprintf("%s %s", q.kind, netlink.HandleStr(q.handle))
}

// replaceQdisc makes q what stands at its parent. An existing qdisc of the
// same kind and handle is changed in place and keeps the packets it holds.
// Equivalent to `tc qdisc replace`.
func replaceQdisc(link int, q qdisc) error {
	return requestQdisc(unix.RTM_NEWQDISC, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, link, q)
}

// addQdisc puts q at its parent, which must have nothing but the kernel's
// default. Equivalent to `tc qdisc add`.
func addQdisc(link int, q qdisc) error {
	return requestQdisc(unix.RTM_NEWQDISC, unix.NLM_F_CREATE|unix.NLM_F_EXCL, link, q)
}

// deleteQdisc removes q and everything below it. Equivalent to `tc qdisc del`.
func deleteQdisc(link int, q qdisc) error {
	return requestQdisc(unix.RTM_DELQDISC, 0, link, q)
}

func requestQdisc(message, flags, link int, q qdisc) error {
	request := nl.NewNetlinkRequest(message, flags|unix.NLM_F_ACK)
	request.AddData(&nl.TcMsg{Family: nl.FAMILY_ALL, Ifindex: int32(link), Handle: q.handle, Parent: q.parent})
	if message == unix.RTM_NEWQDISC {
		request.AddData(nl.NewRtAttr(nl.TCA_KIND, nl.ZeroTerminated(q.kind)))
		request.AddData(nl.NewRtAttr(nl.TCA_OPTIONS, q.options))
	}
	if _, err := request.Execute(unix.NETLINK_ROUTE, 0); err != nil {
		return qdiscError(q.kind, err)
	}
	return nil
}

// qdiscError says of ENOENT, the kernel's answer to a kind it has no module
// for, that the kind is missing: "no such file" sends people looking for files.
func qdiscError(kind string, err error) error {
	if errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("the kernel has no qdisc %s (sch_%s): %w", kind, kind, fault.ErrUnsupported)
	}
	return err
}

// listQdiscs returns the qdiscs on one interface, the root first.
func listQdiscs(link int) ([]qdisc, error) {
	messages, err := rtnl.Dump(func() ([][]byte, error) {
		request := nl.NewNetlinkRequest(unix.RTM_GETQDISC, unix.NLM_F_DUMP)
		request.AddData(&nl.TcMsg{Family: nl.FAMILY_ALL, Ifindex: int32(link)})
		return request.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWQDISC)
	})
	if err != nil {
		return nil, err
	}
	var found []qdisc
	for _, message := range messages {
		head := nl.DeserializeTcMsg(message)
		if int(head.Ifindex) != link { // older kernels dump every interface
			continue
		}
		q := qdisc{handle: head.Handle, parent: head.Parent}
		if err := q.parse(message[head.Len():]); err != nil {
			return nil, err
		}
		found = append(found, q)
	}
	return found, nil
}

func (q *qdisc) parse(payload []byte) error {
	attrs, err := nl.ParseRouteAttr(payload)
	if err != nil {
		return fmt.Errorf("parse qdisc: %w", err)
	}
	for _, attr := range attrs {
		switch attr.Attr.Type {
		case nl.TCA_KIND:
			q.kind = strings.TrimRight(string(attr.Value), "\x00")
		case nl.TCA_OPTIONS:
			q.options = attr.Value
		case nl.TCA_STATS2:
			if q.counters, err = parseCounters(attr.Value); err != nil {
				return err
			}
		}
	}
	return nil
}

// parseCounters reads struct gnet_stats_basic and struct gnet_stats_queue
// (include/uapi/linux/gen_stats.h).
func parseCounters(payload []byte) (fault.Counters, error) {
	attrs, err := nl.ParseRouteAttr(payload)
	if err != nil {
		return fault.Counters{}, fmt.Errorf("parse qdisc statistics: %w", err)
	}
	native := nl.NativeEndian()
	var c fault.Counters
	for _, attr := range attrs {
		switch value := attr.Value; {
		case attr.Attr.Type == nl.TCA_STATS_BASIC && len(value) >= 12:
			c.Bytes = native.Uint64(value)
			c.Packets = uint64(native.Uint32(value[8:]))
		case attr.Attr.Type == nl.TCA_STATS_PKT64 && len(value) >= 8:
			c.Packets = native.Uint64(value)
		case attr.Attr.Type == nl.TCA_STATS_QUEUE && len(value) >= 20:
			c.Backlog = uint64(native.Uint32(value))
			c.Dropped = uint64(native.Uint32(value[8:]))
			c.Overlimits = uint64(native.Uint32(value[16:]))
		}
	}
	return c, nil
}
