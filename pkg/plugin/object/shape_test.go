package object_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/selector"
	"github.com/tidelay/tidelay/pkg/plugin/object"
	"github.com/tidelay/tidelay/pkg/plugin/shape"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// cluster has two PD, of which pd-1 leads, and so many TiKV, of which one is in zone b.
func cluster(tikv int) selector.Cluster {
	all := selector.Cluster{Roles: selector.Roles{Leader: "basic-pd-1"}}
	for i := range 2 {
		all.Pods = append(all.Pods, selector.Pod{Name: fmt.Sprintf("basic-pd-%d", i), Component: tidbcluster.PD})
	}
	for i := range tikv {
		zone := "a"
		if i == 1 {
			zone = "b"
		}
		all.Pods = append(all.Pods, selector.Pod{Name: fmt.Sprintf("basic-tikv-%02d", i), Component: tidbcluster.TiKV, Zone: zone})
	}
	return all
}

func sides(f v1alpha1.NetworkFaultSpec) string {
	side := func(all []v1alpha1.Selector) string { return strings.Trim(fmt.Sprint(all), "[]") }
	return side(f.From) + " | " + side(f.To)
}

func TestShaped(t *testing.T) {
	for _, test := range []struct {
		shape shape.Shape
		of    string
		want  []string
		err   string
	}{
		{shape.Halves, "pd", []string{"pod/basic-pd-0 | pod/basic-pd-1"}, ""},
		{shape.Halves, "tikv, tikv(0), tikv@a", []string{"pod/basic-tikv-00 pod/basic-tikv-01 | pod/basic-tikv-02 pod/basic-tikv-03"}, ""},
		{shape.Bridge, "tikv", []string{"pod/basic-tikv-00 pod/basic-tikv-01 | pod/basic-tikv-03"}, ""},
		{shape.Ring, "tikv", []string{"pod/basic-tikv-00 | pod/basic-tikv-02", "pod/basic-tikv-01 | pod/basic-tikv-03"}, ""},
		{shape.Isolate, "tikv", []string{"pod/basic-tikv-00 | pod/basic-tikv-01 pod/basic-tikv-02 pod/basic-tikv-03"}, ""},
		{shape.Isolate, "pd(leader)", []string{"pd(leader) | pd"}, ""},
		{shape.Isolate, "tikv(2)", []string{"tikv(2) | tikv"}, ""},
		{shape.Isolate, "tikv(random)", []string{"tikv(random) | tikv"}, ""},
		{shape.Isolate, "pod/basic-tikv-02", []string{"pod/basic-tikv-02 | tikv"}, ""},
		// More pods may come to the zone, which are not meant.
		{shape.Isolate, "tikv@b", []string{"pod/basic-tikv-01 | tikv"}, ""},
		{shape.Halves, "pd(leader)", nil, "halves needs at least 2 pods, and there are 1"},
		{shape.Ring, "pd", nil, "ring needs at least 4 pods, and there are 2"},
		{shape.Isolate, "ticdc", nil, "selector ticdc: selects nobody: the cluster has 0 pods of ticdc"},
	} {
		of, err := selector.Parse(test.of)
		if err != nil {
			t.Fatal(err)
		}
		all, err := object.Shaped(v1alpha1.NetworkFaultSpec{Cluster: "basic", Partition: true}, test.shape, of, cluster(4))
		if test.err != "" && (err == nil || err.Error() != test.err) || test.err == "" && err != nil {
			t.Errorf("%s of %s: %v, want %s", test.shape, test.of, err, test.err)
		}
		var got []string
		for _, f := range all {
			got = append(got, sides(f))
			if f.Cluster != "basic" || !f.Partition || f.OneWay {
				t.Errorf("%s of %s: %+v", test.shape, test.of, f)
			}
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s of %s: %q, want %q", test.shape, test.of, got, test.want)
		}
	}
}

// One pod of a component has no other to be isolated from.
func TestIsolateTheOnlyOne(t *testing.T) {
	_, err := object.Shaped(v1alpha1.NetworkFaultSpec{}, shape.Isolate, []selector.Selector{{Component: tidbcluster.TiKV}}, cluster(1))
	if err == nil || err.Error() != "isolate needs at least 2 pods, and there are 1 of tikv" {
		t.Error(err)
	}
}

// Many pods are named by few selectors, each once; too many by none.
func TestShapedOfMany(t *testing.T) {
	tikv := []selector.Selector{{Component: tidbcluster.TiKV}}
	for _, n := range []int{2, 32, 33, 60, 99} {
		all, err := object.Shaped(v1alpha1.NetworkFaultSpec{}, shape.Halves, tikv, cluster(n))
		if err != nil || len(all) != 1 {
			t.Fatalf("%d pods: %v, %v", n, all, err)
		}
		named := map[selector.Selector]bool{}
		for _, side := range [][]v1alpha1.Selector{all[0].From, all[0].To} {
			if len(side) > 16 {
				t.Errorf("%d pods: %d selectors on a side", n, len(side))
			}
			for _, text := range side {
				some, err := selector.Parse(string(text))
				if err != nil {
					t.Errorf("%d pods: %v", n, err)
				}
				for _, s := range some {
					named[s] = true
				}
			}
		}
		if len(named) != n {
			t.Errorf("%d pods: %d are named", n, len(named))
		}
	}
	_, err := object.Shaped(v1alpha1.NetworkFaultSpec{}, shape.Halves, tikv, cluster(1000))
	if _, is := errors.AsType[*selector.Error](err); !is || !strings.HasPrefix(err.Error(), "500 pods are too many for one side") {
		t.Error(err)
	}
}
