package forward

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestSuccessor(t *testing.T) {
	at := func(name string, revision int64) replica {
		return replica{name: name, address: name + ":1", revision: revision, ready: true}
	}
	unready := at("unready", 9)
	unready.ready = false
	nowhere := at("nowhere", 9)
	nowhere.address = ""
	tests := map[string]struct {
		self string
		all  []replica
		want string // "" for none
	}{
		"there is no other":                     {self: "a", all: []replica{at("a", 1)}},
		"nobody knows any":                      {self: "a"},
		"all are of one revision":               {self: "a", all: []replica{at("a", 1), at("b", 1)}},
		"another is newer":                      {self: "a", all: []replica{at("a", 1), at("b", 2)}, want: "b"},
		"the newest of several":                 {self: "a", all: []replica{at("b", 2), at("a", 1), at("c", 3), at("d", 2)}, want: "c"},
		"another is older":                      {self: "a", all: []replica{at("a", 2), at("b", 1)}},
		"the newest is not ready":               {self: "a", all: []replica{at("a", 1), unready, at("b", 2)}, want: "b"},
		"none that is newer is ready":           {self: "a", all: []replica{at("a", 1), unready}},
		"the newest has no address":             {self: "a", all: []replica{at("a", 1), nowhere}},
		"the revision of another is not known":  {self: "a", all: []replica{at("a", 1), at("b", 0)}},
		"the revision of this one is not known": {self: "a", all: []replica{at("a", 0), at("b", 1)}, want: "b"},
		"this one is gone":                      {self: "a", all: []replica{at("b", 1)}, want: "b"},
		"this one is the newest, and unready":   {self: "unready", all: []replica{at("a", 1), unready}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, ok := successor(test.self, test.all)
			if ok != (test.want != "") || ok && got.name != test.want {
				t.Errorf("%q, %t; want %q", got.name, ok, test.want)
			}
		})
	}
}

func TestNewReplica(t *testing.T) {
	pod := func(change func(*corev1.Pod)) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a"}}
		p.Spec.Containers = []corev1.Container{{Name: "other"}, {Ports: []corev1.ContainerPort{
			{Name: "metrics", ContainerPort: 8080}, {Name: "webhook", ContainerPort: 9443},
		}}}
		p.Status.PodIP = "10.0.0.1"
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}, {Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		change(p)
		return p
	}
	tests := map[string]struct {
		change func(*corev1.Pod)
		want   replica
	}{
		"ready":       {func(*corev1.Pod) {}, replica{"a", "10.0.0.1:9443", 3, true}},
		"IPv6":        {func(p *corev1.Pod) { p.Status.PodIP = "fd00::1" }, replica{"a", "[fd00::1]:9443", 3, true}},
		"no address":  {func(p *corev1.Pod) { p.Status.PodIP = "" }, replica{"a", "", 3, true}},
		"no port":     {func(p *corev1.Pod) { p.Spec.Containers[1].Ports = nil }, replica{"a", "", 3, true}},
		"not ready":   {func(p *corev1.Pod) { p.Status.Conditions[1].Status = corev1.ConditionFalse }, replica{"a", "10.0.0.1:9443", 3, false}},
		"no status":   {func(p *corev1.Pod) { p.Status = corev1.PodStatus{} }, replica{"a", "", 3, false}},
		"terminating": {func(p *corev1.Pod) { p.DeletionTimestamp = new(metav1.Now()) }, replica{"a", "10.0.0.1:9443", 3, false}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := newReplica(pod(test.change), 3); got != test.want {
				t.Errorf("%+v, want %+v", got, test.want)
			}
		})
	}
}
