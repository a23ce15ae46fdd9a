package compile

// checkRates refuses a rate whose packets would be in several faults, since each fault
// has a link of its own.
func (c *compilation) checkRates(d drafts) *conflict {
	var found *conflict
	(d.objects() & c.rated).each(func(i int) bool {
		for _, first := range d.all {
			if !c.hasRate(first, i) {
				continue
			}
			var with []draft
			for _, one := range d.all {
				if c.hasRate(one, i) && one.direction == first.direction && (one.link == first.link || !c.ground.has(i)) {
					with = append(with, one)
				}
			}
			if found = c.checkRate(i, with); found != nil {
				return false
			}
		}
		return true
	})
	return found
}

// hasRate reports whether packets are on a link of an object's rate.
func (c *compilation) hasRate(d draft, object int) bool {
	return d.objects.has(object) && d.objects&c.partition == 0 && c.impairment(object, d.passage).Rate != nil
}

// checkRate checks an object's rate, given all packets that are on one link of it.
func (c *compilation) checkRate(object int, with []draft) *conflict {
	if len(with) == 1 && len(with[0].peers) <= maxPeers {
		return nil
	}
	// some are the objects that only some of the packets meet, and unlike are those that are
	// not the same for all of them.
	var some, unlike set
	for _, one := range with[1:] {
		some |= one.objects ^ with[0].objects
		if one.link != with[0].link {
			unlike |= c.ground
		}
		if one.isFirst != with[0].isFirst {
			unlike |= c.oddOf(one.objects&with[0].objects, one.link)
		}
	}
	if others := (some | unlike) &^ (1 << object); others != 0 {
		other, problem := others.newest(), "one of them has a rate, which is one link for all of its packets, and the other is for some of these packets only"
		if !some.has(other) {
			problem = "one of them has a rate, which is one link for all of its packets, and the other is not the same for all of these packets"
		}
		return &conflict{max(object, other), min(object, other), problem}
	}
	if unlike != 0 {
		return &conflict{object, object, "a rate is one link for all of its packets, and half of an odd number of microseconds is not the same for all of them: want an even number"}
	}
	return &conflict{object, object, "a rate is one link, and the packets of this fault would need several"}
}
