# Root, because only a container's root user gets the NET_ADMIN that is given to the container.
FROM scratch
COPY agent /agent
USER 0:0
ENTRYPOINT ["/agent"]
