# The log-likelihood of a linear mixed model with correlated residuals, written from its definition: V of every group is
# formed and factored. Nothing of nlme is used, so that an optimum found here checks both nlme's formulas and its optimum.
#
# A model: list(y, X, Z, subject, cor, points, var, sigma, reml). `Z` NULL: no random effects. `subject`: rows with the
# same value are correlated, random effects included. `var`: list of variance functions, multiplied. `sigma` fixes sigma.

# Correlations: `size` parameters on the whole line, `natural` in nlme's terms, `matrix` of the points of a group.
gap <- function(p) as.matrix(dist(p))
lagged <- function(f, t) { k <- abs(outer(t, t, "-")); f(k) }
positive <- function(name) list(name = name, to = exp, from = log)
unit <- function(name) list(name = name, to = plogis, from = qlogis)
signed <- function(name) list(name = name, to = tanh, from = atanh)

spatial <- function(shape, nugget) list(
  pars = c(list(positive("range")), if (nugget) list(unit("nugget"))),
  matrix = function(p, v) {
    C <- shape(gap(p) / v[1])
    if (nugget) C <- (1 - v[2]) * C
    diag(C) <- 1
    C
  })
shapes <- list(
  exp = function(r) exp(-r),
  gaus = function(r) exp(-r^2),
  ratio = function(r) 1 / (1 + r^2),
  spher = function(r) ifelse(r < 1, 1 - 1.5 * r + 0.5 * r^3, 0),
  lin = function(r) ifelse(r < 1, 1 - r, 0))
arma11 <- function(k, phi, theta) {
  first <- (1 + phi * theta) * (phi + theta) / (1 + 2 * phi * theta + theta^2)
  ifelse(k == 0, 1, first * phi^(pmax(k, 1) - 1))
}
correlations <- function(type, nugget = FALSE, levels = NULL) switch(type,
  none = list(pars = list(), matrix = function(p, v) diag(nrow(p))),
  ar1 = list(pars = list(signed("rho")), matrix = function(p, v) lagged(function(k) v[1]^k, p[, 1])),
  car1 = list(pars = list(unit("phi")), matrix = function(p, v) lagged(function(k) v[1]^k, p[, 1])),
  arma11 = list(pars = list(signed("phi"), signed("theta")),
                matrix = function(p, v) lagged(function(k) arma11(k, v[1], v[2]), p[, 1])),
  compsymm = list(pars = list(signed("rho")), matrix = function(p, v) { C <- matrix(v[1], nrow(p), nrow(p)); diag(C) <- 1; C }),
  # rows of a lower triangle scaled to length one; the diagonal of the triangle is one before scaling
  symm = list(
    pars = lapply(seq_len(levels * (levels - 1) / 2), function(i) list(name = paste0("c", i), to = identity, from = identity)),
    matrix = function(p, v) symm(v, levels)[p[, 1], p[, 1], drop = FALSE]),
  spatial(shapes[[type]], nugget))
symm <- function(v, n) {
  L <- diag(n)
  L[lower.tri(L)] <- v
  L <- L / sqrt(rowSums(L^2))
  L %*% t(L)
}

# Variance functions: standard deviations relative to sigma.
variances <- function(type, x) switch(type,
  ident = { s <- levels(x); list(
    pars = lapply(s[-1], function(l) positive(paste0("ratio ", l))),
    sd = function(v, x) c(1, v)[as.integer(x)]) },
  power = list(pars = list(list(name = "power", to = identity, from = identity)), sd = function(v, x) abs(x)^v[1]),
  exp = list(pars = list(list(name = "expon", to = identity, from = identity)), sd = function(v, x) exp(v[1] * x)),
  const_power = list(pars = list(positive("const"), list(name = "power", to = identity, from = identity)),
                     sd = function(v, x) v[1] + abs(x)^v[2]),
  fixed = list(pars = list(), sd = function(v, x) sqrt(x)))

tri <- function(v, q) { L <- matrix(0, q, q); L[lower.tri(L, TRUE)] <- v; diag(L) <- exp(diag(L)); L }
untri <- function(G) { L <- t(chol(G)); diag(L) <- log(diag(L)); L[lower.tri(L, TRUE)] }

# theta: log-Cholesky of G, correlation, variance functions in order, log sigma (left out where sigma is fixed).
layout <- function(m) {
  q <- if (is.null(m$Z)) 0 else ncol(m$Z)
  free_G <- if (identical(m$G, "compsymm")) 2 else q * (q + 1) / 2
  list(q = q, G = seq_len(free_G), cor = free_G + seq_along(m$cor$pars),
       var = free_G + length(m$cor$pars) + seq_along(unlist(lapply(m$var, function(w) w$pars), FALSE)))
}
all_pars <- function(m) c(m$cor$pars, unlist(lapply(m$var, function(w) w$pars), FALSE))
natural <- function(m, theta) {
  at <- layout(m)
  pars <- all_pars(m)
  v <- vapply(seq_along(pars), function(i) pars[[i]]$to(theta[length(at$G) + i]), 0)
  names(v) <- vapply(pars, function(p) p$name, "")
  G <- if (!at$q) NULL else if (identical(m$G, "compsymm"))
    diag(exp(theta[1]), at$q) + theta[2] else tcrossprod(tri(theta[at$G], at$q))
  list(G = G, values = v, sigma = if (is.null(m$sigma)) exp(theta[length(theta)]) else m$sigma)
}
relative_sd <- function(m, v) {
  used <- length(m$cor$pars)
  s <- rep(1, length(m$y))
  for (w in m$var) {
    s <- s * w$sd(v[used + seq_along(w$pars)], w$x)
    used <- used + length(w$pars)
  }
  s
}

# Of the rows of a group; `within` may set apart rows that share random effects alone.
correlation <- function(m, rows, v) {
  C <- m$cor$matrix(m$points[rows, , drop = FALSE], v)
  if (is.null(m$within)) C else C * outer(m$within[rows], m$within[rows], "==")
}

evaluate <- function(m, theta, details = FALSE) {
  n <- natural(m, theta)
  s <- n$sigma * relative_sd(m, n$values)
  v <- n$values[seq_along(m$cor$pars)]
  if (any(!is.finite(s)) || any(s <= 0)) return(-Inf)
  YX <- cbind(m$y, m$X)
  white <- YX
  logdet <- 0
  for (rows in m$groups) {
    C <- correlation(m, rows, v)
    V <- C * outer(s[rows], s[rows])
    if (!is.null(n$G)) V <- V + m$Z[rows, , drop = FALSE] %*% n$G %*% t(m$Z[rows, , drop = FALSE])
    R <- tryCatch(chol(V), error = function(e) NULL)
    if (is.null(R)) return(-Inf)
    logdet <- logdet + 2 * sum(log(diag(R)))
    white[rows, ] <- backsolve(R, YX[rows, , drop = FALSE], transpose = TRUE)
  }
  Q <- qr(white[, -1, drop = FALSE])
  p <- ncol(m$X)
  nu <- length(m$y) - if (m$reml) p else 0
  ll <- -0.5 * (nu * log(2 * pi) + logdet + sum(qr.resid(Q, white[, 1])^2))
  if (m$reml) ll <- ll - sum(log(abs(diag(qr.R(Q)))))
  if (!details) return(ll)
  beta <- qr.coef(Q, white[, 1])
  list(loglik = ll, beta = beta, vcov = chol2inv(qr.R(Q)), natural = n, sd = s, v = v)
}

# Fourth-order central differences.
gradient <- function(f, x, h = 1e-3) vapply(seq_along(x), function(i) {
  e <- replace(numeric(length(x)), i, h)
  (8 * (f(x + e) - f(x - e)) - (f(x + 2 * e) - f(x - 2 * e))) / (12 * h)
}, 0)
hessian <- function(f, x, h = 1e-3) {
  k <- length(x)
  H <- vapply(seq_len(k), function(i) {
    e <- replace(numeric(k), i, h)
    (8 * (gradient(f, x + e) - gradient(f, x - e)) - (gradient(f, x + 2 * e) - gradient(f, x - 2 * e))) / (12 * h)
  }, numeric(k))
  H <- matrix(H, k, k)
  (H + t(H)) / 2
}
polish <- function(m, theta, rounds = 25) {
  f <- function(t) evaluate(m, t)
  if (!length(theta)) return(list(theta = theta, gradient = 0, min_eigen = NULL))
  best <- f(theta)
  for (i in seq_len(rounds)) {
    g <- gradient(f, theta)
    H <- hessian(f, theta)
    step <- tryCatch(-solve(H, g), error = function(e) 1e-3 * g)
    if (sum(step * g) < 0) step <- 1e-3 * g
    size <- 1
    while (size > 1e-6 && !(f(theta + size * step) > best - 1e-9 * abs(best))) size <- size / 2
    theta <- theta + size * step
    best <- f(theta)
    if (max(abs(step)) < 1e-9) break
  }
  list(theta = theta, gradient = max(abs(gradient(f, theta))), min_eigen = min(eigen(-hessian(f, theta), TRUE, TRUE)$values))
}

# Random effects, fitted values (with them) and normalized residuals: lower-triangular whitening of the conditional residuals.
describe <- function(m, theta) {
  d <- evaluate(m, theta, TRUE)
  r <- drop(m$y - m$X %*% d$beta)
  fitted <- drop(m$X %*% d$beta)
  normalized <- r
  b <- NULL
  for (g in names(m$groups)) {
    rows <- m$groups[[g]]
    R <- correlation(m, rows, d$v) * outer(d$sd[rows], d$sd[rows])
    if (!is.null(d$natural$G)) {
      Z <- m$Z[rows, , drop = FALSE]
      u <- d$natural$G %*% t(Z) %*% solve(R + Z %*% d$natural$G %*% t(Z), r[rows])
      b <- rbind(b, matrix(u, 1, dimnames = list(g, colnames(m$Z))))
      fitted[rows] <- fitted[rows] + drop(Z %*% u)
    }
    normalized[rows] <- backsolve(chol(R), m$y[rows] - fitted[rows], transpose = TRUE)
  }
  c(d, list(fitted = fitted, normalized = normalized, ranef = b))
}
