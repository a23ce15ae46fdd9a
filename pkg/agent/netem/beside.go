package netem

import (
	"github.com/tidelay/tidelay/pkg/fault"
)

// endBeside ends faults on the devices where somebody else's state is inside a
// tree of ours: their netems get no impairment, and all else stays as it is.
// These devices are no longer among the found ones then.
func (e *Engine) endBeside(k kernel, found foundDevices, faults []fault.Fault) error {
	for _, name := range found.names() {
		device := found[name]
		if !device.hasForeignInside() {
			continue
		}
		for _, t := range device.trees() {
			if err := e.do(k, found, t.neutralize(e.endedBands(t, faults))); err != nil {
				return err
			}
		}
		delete(found, name)
	}
	return nil
}

// endedBands returns the bands of a tree whose faults are not among these. If this
// process does not know whose a band is, it is one of them when there are no
// faults.
func (e *Engine) endedBands(t foundTree, faults []fault.Fault) []uint8 {
	bands, known := e.applied.bands[t.attachPoint]
	live := make(map[uint8]bool)
	for name, band := range bands {
		live[band] = fault.Find(faults, name) != nil
	}
	var ended []uint8
	for band := range t.netems {
		if !live[band] && (known || len(faults) == 0) {
			ended = append(ended, band)
		}
	}
	return ended
}

// neutralize returns what takes the impairments from some bands. Packets that wait
// there keep their delay.
func (t foundTree) neutralize(bands []uint8) []op {
	var ops []op
	for _, band := range bands {
		n := t.netems[band]
		neutral := setting{options: options{limit: n.setting.limit}}
		if n.handle != 0 && n.setting.options != neutral.options {
			ops = append(ops, setNetem{link: t.link, band: band, segmented: n.burst > 0, handle: n.handle, setting: neutral})
		}
	}
	return ops
}
