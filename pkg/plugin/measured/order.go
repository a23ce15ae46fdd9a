package measured

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// compare orders pods: neighbours of a heat map are alike.
func (m *Matrix) compare(a, b Pod) int {
	place := func(p Pod) int { return slices.Index(tidbcluster.Components(), p.Component) }
	byZone := 0
	if m.isZoned {
		byZone = strings.Compare(a.Zone, b.Zone)
	}
	return cmp.Or(byZone, cmp.Compare(place(a), place(b)), compareNames(a.Name, b.Name))
}

// compareNames orders names, and those that differ in a number at the end by that.
func compareNames(a, b string) int {
	stemA, numberA := cutNumber(a)
	stemB, numberB := cutNumber(b)
	return cmp.Or(strings.Compare(stemA, stemB), cmp.Compare(numberA, numberB), strings.Compare(a, b))
}

func cutNumber(name string) (string, int) {
	i := strings.LastIndexByte(name, '-')
	number, err := strconv.Atoi(name[i+1:])
	if err != nil {
		return name, -1
	}
	return name[:i+1], number
}
