package safety

import "slices"

// domain is pods of TiKV that can fail together: a zone, where PD keeps the replicas of
// a region in different zones, or one pod.
type domain struct {
	name string
	// stores are those of its pods.
	stores []store
}

// domains returns the failure domains of TiKV, by name. A pod of which no zone is known
// is one of its own.
func (f Facts) domains() []domain {
	var all []domain
	for _, s := range f.tikv { // by pod
		name := "pod " + s.pod
		if zone := f.pods[s.pod].Zone; f.byZone && zone != "" {
			name = "zone " + zone
		}
		i := slices.IndexFunc(all, func(d domain) bool { return d.name == name })
		if i < 0 {
			i = len(all)
			all = append(all, domain{name: name})
		}
		all[i].stores = append(all[i].stores, s)
	}
	return all
}

// losable returns how many failure domains can be lost, whichever they are, so that every
// region keeps a majority of its replicas. The replicas are dealt out to the domains in
// turn, to each store of one at most one.
func losable(domains []domain, replicas int) int {
	dealt := make([]int, len(domains))
	total := 0
	for before := -1; total != before && total < replicas; {
		before = total
		for i, d := range domains {
			if total < replicas && dealt[i] < len(d.stores) {
				dealt[i]++
				total++
			}
		}
	}
	slices.Sort(dealt)
	slices.Reverse(dealt)
	lost := 0
	for i, n := range dealt {
		if lost += n; lost > (total-1)/2 {
			return i
		}
	}
	return len(dealt)
}
