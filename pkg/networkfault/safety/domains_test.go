package safety

import "testing"

func TestLosable(t *testing.T) {
	for _, test := range []struct {
		stores         []int // of each domain
		replicas, want int
	}{
		{nil, 3, 0},
		{[]int{1}, 3, 0},
		{[]int{1, 1}, 3, 0},
		{[]int{1, 1, 1}, 1, 0},
		{[]int{1, 1, 1}, 2, 0},
		{[]int{1, 1, 1}, 3, 1},
		{[]int{1, 1, 1, 1}, 3, 1},
		{[]int{1, 1, 1, 1}, 5, 1},
		{[]int{1, 1, 1, 1, 1}, 5, 2},
		{[]int{2, 2}, 3, 0}, // two replicas in one of them
		{[]int{2, 2, 2}, 5, 1},
		{[]int{9, 9, 9, 9}, 5, 1},
		{[]int{1, 1, 3}, 5, 0}, // three replicas in the last
		{[]int{1, 1, 2}, 5, 0}, // two of four
		{[]int{9, 9, 9, 9, 9, 9, 9}, 7, 3},
	} {
		var domains []domain
		for _, n := range test.stores {
			domains = append(domains, domain{stores: make([]store, n)})
		}
		if got := losable(domains, test.replicas); got != test.want {
			t.Errorf("%v with %d replicas can lose %d, want %d", test.stores, test.replicas, got, test.want)
		}
	}
}

func TestIsCovered(t *testing.T) {
	for _, test := range []struct {
		edges [][2]int
		least int
	}{
		{nil, 0},
		{[][2]int{{0, 1}}, 1},
		{[][2]int{{0, 1}, {1, 2}, {2, 0}}, 2},
		{[][2]int{{2, 1}, {2, 3}, {0, 1}, {3, 4}}, 2}, // not by the first vertex
		{[][2]int{{9, 1}, {9, 2}, {9, 3}, {9, 4}}, 1},
		{[][2]int{{0, 1}, {1, 2}, {2, 3}, {3, 4}, {4, 0}}, 3},
		{[][2]int{{0, 1}, {2, 3}, {4, 5}}, 3},
	} {
		for k := range 5 {
			if got := isCovered(test.edges, k); got != (k >= test.least) {
				t.Errorf("%v is covered by %d: %t", test.edges, k, got)
			}
		}
	}
}
