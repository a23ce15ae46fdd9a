//go:build apiserver

package apiserver

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// The agent as the API server stored it, defaults and all.
func TestAgentContainer(t *testing.T) {
	n := newNamespace(t)
	got := n.admit(n.tikv(optedIn(), func(pod *corev1.Pod) {
		// What a careful TidbCluster sets for all of its containers.
		pod.Spec.SecurityContext = &corev1.PodSecurityContext{
			RunAsNonRoot: new(true), RunAsUser: new(int64(1000)), FSGroup: new(int64(1000)),
		}
		pod.Spec.Containers[0].Ports = []corev1.ContainerPort{{Name: "status", ContainerPort: 20180}}
		pod.Spec.Containers[0].ReadinessProbe = probe(intstr.FromInt32(20160))
		pod.Spec.Containers[0].LivenessProbe = probe(intstr.FromString("status"))
	}))
	got.wants(t, "injected", "tikv")
	agent := got.agent(t)

	if want := world.agentImage(t); agent.Image != want {
		t.Errorf("image is %q, want %q of the Deployment", agent.Image, want)
	}
	want := &corev1.SecurityContext{
		RunAsUser: new(int64(0)), RunAsNonRoot: new(false), Privileged: agent.SecurityContext.Privileged,
		RunAsGroup:               agent.SecurityContext.RunAsGroup,
		AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true),
		Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"NET_ADMIN"}},
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	if diff := cmp.Diff(want, agent.SecurityContext); diff != "" {
		t.Errorf("security context (-want +got):\n%s", diff)
	}
	if len(agent.Ports) != 1 || agent.Ports[0].ContainerPort != agentPort || agent.Ports[0].HostPort != 0 {
		t.Errorf("ports are %v, want %d alone", agent.Ports, agentPort)
	}
	if agent.ReadinessProbe != nil {
		t.Error("the agent has a readiness probe, which can stall a rolling upgrade")
	}
	if len(agent.Resources.Requests) == 0 || len(agent.Resources.Limits) == 0 {
		t.Errorf("resources are %v, want requests and limits", agent.Resources)
	}
	status := got.pod.Annotations[statusAnnotation]
	if !json.Valid([]byte(status)) || strings.ContainsAny(status, "$`\\") {
		t.Errorf("%s is %s, want JSON that a shell can source", statusAnnotation, status)
	}
	for name, path := range map[string]string{"POD_UID": "metadata.uid", "NODE_IP": "status.hostIP"} {
		if v := variable(agent, name); v.ValueFrom == nil || v.ValueFrom.FieldRef.FieldPath != path {
			t.Errorf("%s is %v, want it from %s", name, v, path)
		}
	}
	if ports := variable(agent, "PROBE_PORTS").Value; ports != "20160,20180" {
		t.Errorf("PROBE_PORTS is %q, want the probed ports 20160,20180", ports)
	}
}

// The pod's containers keep their places, and kubectl its default.
func TestAgentComesLast(t *testing.T) {
	n := newNamespace(t)
	got := n.admit(n.tikv(optedIn(), func(pod *corev1.Pod) {
		pod.Spec.Containers = append([]corev1.Container{{Name: "raftlog", Image: "busybox"}}, pod.Spec.Containers...)
	}))
	var names []string
	for _, container := range got.pod.Spec.Containers {
		names = append(names, container.Name)
	}
	if want := []string{"raftlog", "tikv", agentName}; !slices.Equal(names, want) {
		t.Errorf("containers are %v, want %v", names, want)
	}
	if name := got.pod.Annotations["kubectl.kubernetes.io/default-container"]; name == agentName || name == "" {
		t.Errorf("kubectl's default container is %q", name)
	}
}

// The ServiceAccount plugin mounts a token into every container that has
// nothing in its place, the agent excepted.
func TestAgentHasNoToken(t *testing.T) {
	n := newNamespace(t)
	got := n.admit(n.tikv(optedIn()))
	got.wants(t, "injected", "tikv")
	if !mountsToken(got.pod, got.pod.Spec.Containers[0]) {
		t.Error("the database has no token: this API server mounts none, and the test proves nothing")
	}
	if mountsToken(got.pod, got.agent(t)) {
		t.Error("the agent has a service-account token")
	}
}

// An injected pod is the pod without the agent, plus the agent: no field of
// this API server's version is lost, not even those younger than the types
// that TiDB Operator was built with.
func TestNothingElseChanges(t *testing.T) {
	rich := func(pod *corev1.Pod) {
		pod.Annotations = annotations{"example.com/kept": "yes"}
		pod.Spec.AutomountServiceAccountToken = new(false) // its volume has a random name
		pod.Spec.SecurityContext = &corev1.PodSecurityContext{
			AppArmorProfile:          &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeUnconfined}, // 1.30
			SupplementalGroupsPolicy: new(corev1.SupplementalGroupsPolicyMerge),                           // 1.33
		}
		pod.Spec.Resources = &corev1.ResourceRequirements{ // 1.34
			Requests: corev1.ResourceList{"cpu": resource.MustParse("4"), "memory": resource.MustParse("8Gi")},
		}
		pod.Spec.Containers[0].ResizePolicy = []corev1.ContainerResizePolicy{
			{ResourceName: "cpu", RestartPolicy: corev1.NotRequired},
		}
		pod.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{ProcMount: new(corev1.DefaultProcMount)}
		pod.Spec.Volumes = []corev1.Volume{{Name: "data"}}
		pod.Spec.InitContainers = []corev1.Container{{
			Name: "native", Image: "sidecar", RestartPolicy: new(corev1.ContainerRestartPolicyAlways),
		}}
	}
	stored := func(a annotations) *corev1.Pod {
		n := newNamespace(t)
		pod, _ := n.post(n.tikv(a, rich), wet)
		return pod
	}
	plain, injected := stored(nil), stored(optedIn())
	if agents(plain) != 0 || agents(injected) != 1 {
		t.Fatalf("pods have %d and %d agents, want 0 and 1", agents(plain), agents(injected))
	}
	if plain.Spec.Resources == nil || plain.Spec.SecurityContext.SupplementalGroupsPolicy == nil {
		t.Fatal("this API server does not keep the new fields, and the test proves nothing")
	}
	spec := &injected.Spec
	spec.Containers = spec.Containers[:len(plain.Spec.Containers)]
	spec.Volumes = spec.Volumes[:len(plain.Spec.Volumes)]
	if diff := cmp.Diff(plain.Spec, *spec); diff != "" {
		t.Errorf("injection changed the spec (-plain +injected):\n%s", diff)
	}
	if diff := cmp.Diff(plain.Labels, injected.Labels); diff != "" {
		t.Errorf("injection changed the labels (-plain +injected):\n%s", diff)
	}
	if injected.Annotations["example.com/kept"] != "yes" {
		t.Errorf("injection lost an annotation: %v", injected.Annotations)
	}
}

func (a admission) agent(t *testing.T) corev1.Container {
	t.Helper()
	last := a.pod.Spec.Containers[len(a.pod.Spec.Containers)-1]
	if last.Name != agentName {
		t.Fatalf("the last container is %s, want %s", last.Name, agentName)
	}
	return last
}

// agentImage is the image that the shipped Deployment names for the agent.
func (s *suite) agentImage(t *testing.T) string {
	t.Helper()
	container := s.deployment(t, injectorName).Spec.Template.Spec.Containers[0]
	args, _ := commandLine(&container)
	for _, arg := range args {
		if image, ok := strings.CutPrefix(arg, "--agent-image="); ok {
			return image
		}
	}
	t.Fatalf("the Deployment's args %v have no --agent-image", args)
	return ""
}

func probe(port intstr.IntOrString) *corev1.Probe {
	return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: port}}}
}

func variable(container corev1.Container, name string) corev1.EnvVar {
	for _, variable := range container.Env {
		if variable.Name == name {
			return variable
		}
	}
	return corev1.EnvVar{}
}

func mountsToken(pod *corev1.Pod, container corev1.Container) bool {
	for _, volume := range pod.Spec.Volumes {
		if volume.Projected == nil {
			continue
		}
		hasToken := slices.ContainsFunc(volume.Projected.Sources, func(s corev1.VolumeProjection) bool {
			return s.ServiceAccountToken != nil
		})
		if hasToken && slices.ContainsFunc(container.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == volume.Name }) {
			return true
		}
	}
	return false
}
