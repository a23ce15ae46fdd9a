// Package plugin is "kubectl tidelay": faults and topologies of TidbClusters from a laptop.
//
// A verb makes an object of what was asked (package object), reads what is known with the
// rights of the person who asks (look), says what would become of it (preview), and writes it.
// What it can judge and finds refused is not written; what it may not see, the controller
// judges.
package plugin
