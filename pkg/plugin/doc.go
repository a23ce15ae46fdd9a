// Package plugin is "kubectl tidelay": faults and topologies of TidbClusters from a laptop.
//
// A verb makes an object of what was asked (package object), reads what is known with the
// rights of the person who asks (look), says what would become of it (preview), and writes it.
// Nothing is written that would be refused.
package plugin
