package injection

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestPodProbePorts(t *testing.T) {
	tcp := func(port intstr.IntOrString) *corev1.Probe {
		return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: port}}}
	}
	http := func(port intstr.IntOrString) *corev1.Probe {
		return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: port}}}
	}
	number, name := intstr.FromInt32, intstr.FromString
	status := []corev1.ContainerPort{{Name: "server", ContainerPort: 4000}, {Name: "status", ContainerPort: 10080}}
	tests := map[string]struct {
		containers, initContainers []corev1.Container
		want                       string
	}{
		"if there are no probes, none": {containers: []corev1.Container{{Ports: status}}},
		"if there are three probes, their ports in order": {
			containers: []corev1.Container{{LivenessProbe: http(number(10080)), ReadinessProbe: tcp(number(4000)), StartupProbe: tcp(number(9))}},
			want:       "9,4000,10080",
		},
		"if two probes use one port, once": {
			containers: []corev1.Container{{LivenessProbe: tcp(number(4000)), ReadinessProbe: http(number(4000))}},
			want:       "4000",
		},
		"if a port is named, its number": {
			containers: []corev1.Container{{Ports: status, LivenessProbe: http(name("status"))}},
			want:       "10080",
		},
		"if a port is a number in a string, that": {
			containers: []corev1.Container{{LivenessProbe: tcp(name("4000"))}},
			want:       "4000",
		},
		"if a named port is another container's, none": {
			containers: []corev1.Container{{Ports: status}, {LivenessProbe: http(name("status"))}},
		},
		"if a port is out of range, none": {
			containers: []corev1.Container{{LivenessProbe: tcp(number(65536)), ReadinessProbe: tcp(number(0)), StartupProbe: tcp(name("-1"))}},
		},
		"if the probe is gRPC, its port": {
			containers: []corev1.Container{{LivenessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: 50051}}}}},
			want:       "50051",
		},
		"if the probe is a command, none": {
			containers: []corev1.Container{{LivenessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{}}}}},
		},
		"if the probe goes to another host, none": {
			containers: []corev1.Container{{
				LivenessProbe:  &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Host: "192.0.2.1", Port: number(80)}}},
				ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Host: "192.0.2.1", Port: number(81)}}},
			}},
		},
		"if a native sidecar is probed, its port too": {
			containers:     []corev1.Container{{LivenessProbe: tcp(number(4000))}},
			initContainers: []corev1.Container{{RestartPolicy: new(corev1.ContainerRestartPolicyAlways), ReadinessProbe: tcp(number(15021))}},
			want:           "4000,15021",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: test.containers, InitContainers: test.initContainers}}
			if got := podProbePorts(pod); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
