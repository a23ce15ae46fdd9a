package netem

import (
	"fmt"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// qdisc is a queueing discipline as the kernel reports it. The options stay
// encoded, because netlink.Netem has only 32-bit times; see decode.
type qdisc struct {
	kind     string
	handle   uint32
	parent   uint32
	options  []byte
	counters api.Counters
}

// String returns "prio 7de1:".
func (q qdisc) String() string { return q.kind + " " + handleWord(q.handle) }

// allQdiscs returns those of all links by the index of the link, the root of each
// first. Those that the kernel made by itself have the handle 0 or are not
// reported.
func (c *conn) allQdiscs() (map[int][]qdisc, error) {
	messages, err := c.dump(unix.RTM_GETQDISC, unix.RTM_NEWQDISC, tcMsg(0, 0, 0, 0))
	if err != nil {
		return nil, fmt.Errorf("list qdiscs: %w", err)
	}
	found := make(map[int][]qdisc)
	for _, message := range messages {
		q, err := parseQdisc(message)
		if err != nil {
			return nil, err
		}
		index := int(nl.DeserializeTcMsg(message).Ifindex)
		found[index] = append(found[index], q)
	}
	return found, nil
}

func parseQdisc(message []byte) (qdisc, error) {
	head := nl.DeserializeTcMsg(message)
	q := qdisc{handle: head.Handle, parent: head.Parent}
	attrs, err := nl.ParseRouteAttr(message[head.Len():])
	if err != nil {
		return qdisc{}, fmt.Errorf("parse qdisc: %w", err)
	}
	for _, attr := range attrs {
		switch attr.Attr.Type {
		case nl.TCA_KIND:
			q.kind = strings.TrimRight(string(attr.Value), "\x00")
		case nl.TCA_OPTIONS:
			q.options = attr.Value
		case nl.TCA_STATS2:
			if q.counters, err = parseCounters(attr.Value); err != nil {
				return qdisc{}, err
			}
		}
	}
	return q, nil
}

// parseCounters reads struct gnet_stats_basic and struct gnet_stats_queue
// (include/uapi/linux/gen_stats.h). Packets and bytes are those that left.
// Backlog is in packets. A netem counts as dropped both the packets that it loses
// on purpose and those for which its queue has no room. It never counts
// overlimits.
func parseCounters(payload []byte) (api.Counters, error) {
	attrs, err := nl.ParseRouteAttr(payload)
	if err != nil {
		return api.Counters{}, fmt.Errorf("parse qdisc statistics: %w", err)
	}
	native := nl.NativeEndian()
	var c api.Counters
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
