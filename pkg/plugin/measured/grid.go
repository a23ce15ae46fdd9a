package measured

import (
	"cmp"
	"slices"
	"strings"
)

// By is what a grid has rows and columns of.
type By string

// What a grid can have rows and columns of.
const (
	ByPod       By = "pod"
	ByComponent By = "component"
	ByZone      By = "zone"
)

// Bys lists what a grid can have rows and columns of.
func Bys() []string { return []string{string(ByPod), string(ByComponent), string(ByZone)} }

// noZone is the group of pods without a zone.
const noZone = "(no zone)"

// Grid is a matrix by pods, components or zones.
type Grid struct {
	*Matrix
	By     By
	Groups []Group
	// Cells has the pairs from each group, the row, to each group, the column.
	Cells [][]Cell
	// Prefix is what all pods' names begin with, and is left out of Group.Short.
	Prefix string
}

// Group is a row and a column of a grid.
type Group struct {
	Name, Short string
	// Block is what a pod is put together with: its zone if a topology is in force, or else
	// its component; "" for other groups.
	Block string
}

// HasZones reports whether the zone of any pod is known.
func (m *Matrix) HasZones() bool {
	return slices.ContainsFunc(m.Pods, func(p Pod) bool { return p.Zone != "" })
}

// By makes a grid.
func (m *Matrix) By(by By) *Grid {
	g := &Grid{Matrix: m, By: by}
	group := func(p Pod) string {
		switch by {
		case ByComponent:
			return string(p.Component)
		case ByZone:
			return cmp.Or(p.Zone, noZone)
		default:
			return p.Name
		}
	}
	if by == ByPod {
		g.Prefix = m.prefix()
	}
	place, groupOf := map[string]int{}, map[string]string{}
	for _, p := range m.Pods {
		name := group(p)
		groupOf[p.Name] = name
		if _, has := place[name]; !has {
			place[name] = 0
			g.Groups = append(g.Groups, Group{name, strings.TrimPrefix(name, g.Prefix), m.block(by, p)})
		}
	}
	if by == ByZone {
		slices.SortFunc(g.Groups, func(a, b Group) int { return strings.Compare(a.Name, b.Name) })
	}
	for i, from := range g.Groups {
		place[from.Name] = i
		g.Cells = append(g.Cells, make([]Cell, len(g.Groups)))
		for j, to := range g.Groups {
			g.Cells[i][j] = Cell{From: from.Name, To: to.Name}
		}
	}
	for _, p := range m.Pairs {
		c := &g.Cells[place[groupOf[p.From]]][place[groupOf[p.To]]]
		c.Pairs = append(c.Pairs, p)
	}
	return g
}

// block is what a pod is put together with.
func (m *Matrix) block(by By, p Pod) string {
	switch {
	case by != ByPod:
		return ""
	case m.isZoned:
		return "zone " + cmp.Or(p.Zone, "-")
	default:
		return string(p.Component)
	}
}

// prefix is what the names of all pods begin with, up to a hyphen.
func (m *Matrix) prefix() string {
	if len(m.Pods) < 2 {
		return ""
	}
	prefix := m.Pods[0].Name
	for _, p := range m.Pods {
		for !strings.HasPrefix(p.Name, prefix) {
			prefix = prefix[:len(prefix)-1]
		}
	}
	if isOneSet := strings.HasPrefix(prefix, m.Cluster+"-"); isOneSet {
		return m.Cluster + "-" // and not the component's name too
	}
	return prefix[:strings.LastIndexByte(prefix, '-')+1]
}
