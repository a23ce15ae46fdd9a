package netem

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/vishvananda/netlink/nl"
)

// decode reads what the kernel reports of a netem qdisc. That is all that encode
// writes, except for the table of delays. A kernel that has seeds always reports
// one: its own choice if none was asked for.
func decode(payload []byte) (setting, error) {
	if len(payload) < sizeQopt {
		return setting{}, fmt.Errorf("decode netem options: %d bytes, want at least %d", len(payload), sizeQopt)
	}
	head := uint32sOf(payload[:sizeQopt])
	s := setting{options: options{
		delay: time.Duration(head[0]) * tick, limit: head[1], loss: head[2],
		gap: head[3], duplicate: head[4], jitter: time.Duration(head[5]) * tick,
	}}
	attrs, err := nl.ParseRouteAttr(payload[sizeQopt:])
	if err != nil {
		return setting{}, fmt.Errorf("decode netem options: %w", err)
	}
	for _, attr := range attrs {
		if err := s.decodeAttr(int(attr.Attr.Type), attr.Value); err != nil {
			return setting{}, err
		}
	}
	return s, nil
}

// decodeAttr reads one attribute. In the kernel's answer the 64-bit rate comes
// before the 32-bit one, which then is at its maximum and says nothing.
func (s *setting) decodeAttr(attr int, value []byte) error {
	w, least := uint32sOf(value), map[int]int{ // how many numbers an attribute has
		attrCorrelation: 3, attrReorder: 2, attrCorrupt: 2, attrRate: 4, attrECN: 1,
		attrRate64: 2, attrLatency64: 2, attrJitter64: 2, attrSeed: 2,
	}
	if len(w) < least[attr] {
		return fmt.Errorf("decode netem options: attribute %d has %d bytes", attr, len(value))
	}
	switch attr {
	case attrCorrelation:
		s.delayCorrelation, s.lossCorrelation, s.duplicateCorrelation = w[0], w[1], w[2]
	case attrReorder:
		s.reorder, s.reorderCorrelation = w[0], w[1]
	case attrCorrupt:
		s.corrupt, s.corruptCorrelation = w[0], w[1]
	case attrRate:
		s.rate = max(s.rate, uint64(w[0]))
		s.packetOverhead, s.cellSize, s.cellOverhead = int32(w[1]), w[2], int32(w[3])
	case attrRate64:
		s.rate = binary.NativeEndian.Uint64(value)
	case attrLatency64:
		s.delay = time.Duration(binary.NativeEndian.Uint64(value))
	case attrJitter64:
		s.jitter = time.Duration(binary.NativeEndian.Uint64(value))
	case attrSeed:
		s.seed, s.seeded = binary.NativeEndian.Uint64(value), true
	case attrLoss:
		return s.decodeModel(value)
	case attrECN, attrSlot:
		s.more = s.more || slices.ContainsFunc(value, func(b byte) bool { return b != 0 })
	}
	return nil
}

// decodeModel reads the nested attribute of a loss model.
func (s *setting) decodeModel(value []byte) error {
	nested, err := nl.ParseRouteAttr(value)
	if err != nil {
		return fmt.Errorf("decode loss model: %w", err)
	}
	for _, attr := range nested {
		s.model = lossModel(attr.Attr.Type)
		if copy(s.parameters[:], uint32sOf(attr.Value)) < 4 {
			return fmt.Errorf("decode loss model: %d bytes", len(attr.Value))
		}
	}
	return nil
}

// uint32sOf reads as many whole 32-bit numbers as there are.
func uint32sOf(value []byte) []uint32 {
	var w []uint32
	for ; len(value) >= 4; value = value[4:] {
		w = append(w, binary.NativeEndian.Uint32(value))
	}
	return w
}
