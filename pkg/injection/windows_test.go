package injection

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestWindowsNode(t *testing.T) {
	const label, build = "kubernetes.io/os", "node.kubernetes.io/windows-build"
	expression := func(key string, operator corev1.NodeSelectorOperator, values ...string) corev1.NodeSelectorTerm {
		return corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{
			{Key: "disk", Operator: corev1.NodeSelectorOpExists}, {Key: key, Operator: operator, Values: values},
		}}
	}
	required := func(terms ...corev1.NodeSelectorTerm) corev1.PodSpec {
		return corev1.PodSpec{Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: terms},
		}}}
	}
	windows, linux := expression(label, "In", "windows"), expression(label, "In", "linux")
	tests := map[string]struct {
		spec corev1.PodSpec
		want string // "" for a pod that may run on Linux
	}{
		"nothing":                      {corev1.PodSpec{}, ""},
		"spec.os":                      {corev1.PodSpec{OS: &corev1.PodOS{Name: "windows"}}, "spec.os.name is windows"},
		"spec.os linux":                {corev1.PodSpec{OS: &corev1.PodOS{Name: "linux"}}, ""},
		"node selector":                {corev1.PodSpec{NodeSelector: map[string]string{label: "windows"}}, "spec.nodeSelector wants nodes with kubernetes.io/os=windows"},
		"old label":                    {corev1.PodSpec{NodeSelector: map[string]string{"beta.kubernetes.io/os": "windows"}}, "spec.nodeSelector wants nodes with beta.kubernetes.io/os=windows"},
		"node selector linux":          {corev1.PodSpec{NodeSelector: map[string]string{label: "linux"}}, ""},
		"another label":                {corev1.PodSpec{NodeSelector: map[string]string{"os": "windows"}}, ""},
		"affinity":                     {required(windows), "spec.affinity.nodeAffinity wants Windows nodes"},
		"affinity, old label":          {required(expression("beta.kubernetes.io/os", "In", "windows")), "spec.affinity.nodeAffinity wants Windows nodes"},
		"affinity, all terms":          {required(windows, windows), "spec.affinity.nodeAffinity wants Windows nodes"},
		"affinity, one term of two":    {required(windows, linux), ""},
		"affinity, either":             {required(expression(label, "In", "windows", "linux")), ""},
		"affinity, not linux":          {required(expression(label, "NotIn", "linux")), "spec.affinity.nodeAffinity wants Windows nodes"},
		"affinity, not windows":        {required(expression(label, "NotIn", "windows")), ""},
		"affinity, any":                {required(expression(label, "Exists")), ""},
		"affinity, another label":      {required(expression("os", "In", "windows")), ""},
		"node selector, build":         {corev1.PodSpec{NodeSelector: map[string]string{build: "10.0.20348"}}, "spec.nodeSelector wants nodes with node.kubernetes.io/windows-build"},
		"affinity, a build":            {required(expression(build, "In", "10.0.20348")), "spec.affinity.nodeAffinity wants Windows nodes"},
		"affinity, any build":          {required(expression(build, "Exists")), "spec.affinity.nodeAffinity wants Windows nodes"},
		"affinity, no build":           {required(expression(build, "DoesNotExist")), ""},
		"affinity, not that build":     {required(expression(build, "NotIn", "10.0.20348")), ""},
		"affinity without terms":       {required(), ""},
		"affinity, a term of no label": {required(corev1.NodeSelectorTerm{}), ""},
		"affinity that is preferred": {corev1.PodSpec{Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{{Weight: 1, Preference: windows}},
		}}}, ""},
		"affinity of another kind": {corev1.PodSpec{Affinity: &corev1.Affinity{PodAffinity: &corev1.PodAffinity{}}}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := windowsNode(&corev1.Pod{Spec: test.spec}); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}
